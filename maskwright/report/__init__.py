"""One self-contained HTML file about a run or an evaluation."""

from maskwright.report.page import report_run, write_report

__all__ = ["report_run", "write_report"]
