"""The three written forms of VIA files as one: the images of a file, each with its regions.

VIA 1 and 2 keep an image's regions in its own record, as a list or as a record of numbers; VIA 3 keeps tables of files, views,
attributes and metadata (regions) that name each other by id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from maskwright.annotations.drawn import Remark
from maskwright.annotations.listing import Listed
from maskwright.annotations.records import record, shown, size_hw, text
from maskwright.errors import FormatError

METADATA = "_via_img_metadata"
# VIA 3's number for files that are images; others are video and audio.
_IMAGE_FILE = 2


class Region(TypedDict):
    """One region as every form gives it.

    Attributes:
        key: its number or name in the file
        shape: VIA 2's shape_attributes or VIA 3's xy, as they stand there
        av: names and values of its attributes that have one
    """

    key: str
    shape: Any
    av: dict[str, str]


def images_of(path: Path, top: Any, remarks: list[Remark]) -> list[Listed]:
    """The images of one file with their regions in order; what is damaged is left out with a remark.

    Raises:
        FormatError: the file is no VIA json at all.
    """
    if not isinstance(top, Mapping):
        raise FormatError(f"{path}: is {shown(top)}; expected VIA's record of images.")
    if "metadata" in top and "file" in top:
        return list(_of_tables(path, top, remarks))
    images = record(top[METADATA], str(path), f"`{METADATA}`") if METADATA in top else top
    if images and not any(isinstance(row, Mapping) and "filename" in row for row in images.values()):
        raise FormatError(f"{path}: no record in it has a `filename`; expected VIA's record of images.")
    return list(_of_records(path, images, remarks))


def _of_records(path: Path, images: Mapping[str, Any], remarks: list[Remark]) -> Iterator[Listed]:
    for key, value in images.items():
        where = f"{path}: image {key!r}"
        try:
            row = record(value, where, "it")
            one = Listed(
                text(row.get("filename"), where, "its filename"), path, size_hw(row.get("height"), row.get("width"), where)
            )
            regions = row.get("regions", [])
            if not isinstance(regions, (list, Mapping)):
                raise FormatError(f"{where}: its regions are {shown(regions)}; expected a list or a record.")
        except FormatError as error:
            remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; the image is left out.", "", path))
            continue
        for number, region in regions.items() if isinstance(regions, Mapping) else enumerate(regions):
            if not isinstance(region, Mapping):
                said = f"{where}: region {number} is {shown(region)}; expected a record; the object is left out."
                remarks.append(Remark("bad-object", said, "", path))
                continue
            one.rows.append(
                Region(key=str(number), shape=region.get("shape_attributes"), av=_plain(region.get("region_attributes")))
            )
        yield one


def _plain(attributes: object) -> dict[str, str]:
    """Attributes with one value each; of a record of check boxes the one that is ticked, where only one is."""
    found: dict[str, str] = {}
    for name, value in (dict(attributes) if isinstance(attributes, Mapping) else {}).items():
        if isinstance(value, Mapping):
            ticked = [option for option, on in value.items() if on is True or on == "true"]
            value = ticked[0] if len(ticked) == 1 else None
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            found[str(name)] = str(value).strip()
    return found


def _of_tables(path: Path, top: Mapping[str, Any], remarks: list[Remark]) -> Iterator[Listed]:
    where = str(path)
    files, regions = record(top["file"], where, "`file`"), record(top["metadata"], where, "`metadata`")
    views = record(top.get("view", {}), where, "`view`")
    attributes = record(top.get("attribute", {}), where, "`attribute`")
    images: dict[str, Listed] = {}
    for fid, row in files.items():
        try:
            one = _file(path, fid, row)
        except FormatError as error:
            remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; the file is left out.", "", path))
            continue
        images[fid] = one
    for key, row in regions.items():
        place = f"{path}: metadata {key!r}"
        try:
            given = record(row, place, "it")
            if given.get("xy") == [] or "xy" not in given:
                continue  # what is said of the whole file, or of a piece of time, is no region
            fid = _fid(str(given.get("vid")), views)
            if fid not in images:
                raise FormatError(f"{place}: its view {shown(given.get('vid'))} is of no image that the file lists.")
        except FormatError as error:
            remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; the object is left out.", "", path))
            continue
        images[fid].rows.append(Region(key=str(key), shape=given["xy"], av=_named(given.get("av"), attributes)))
    yield from images.values()


def _file(path: Path, fid: str, row: object) -> Listed:
    where = f"{path}: file {fid!r}"
    given = record(row, where, "it")
    if given.get("type", _IMAGE_FILE) != _IMAGE_FILE:
        raise FormatError(f"{where}: is of type {shown(given.get('type'))}; only images (type {_IMAGE_FILE}) are read.")
    # `src` holds the place where fname is only a title; fname may be missing in files that name a URL alone.
    return Listed(text(given.get("fname") or given.get("src"), where, "its fname"), path)


def _fid(vid: str, views: Mapping[str, Any]) -> str:
    """The file of a view; without a table of views each view is its file."""
    view = views.get(vid)
    fids = view.get("fid_list") if isinstance(view, Mapping) else None
    return str(fids[0]) if isinstance(fids, list) and len(fids) == 1 else vid


def _named(values: object, attributes: Mapping[str, Any]) -> dict[str, str]:
    """Attribute ids and option ids by the names that they stand for."""
    found: dict[str, object] = {}
    for aid, value in (dict(values) if isinstance(values, Mapping) else {}).items():
        attribute = attributes.get(aid)
        attribute = attribute if isinstance(attribute, Mapping) else {}
        options = attribute.get("options")
        if isinstance(options, Mapping) and isinstance(value, (str, int)) and str(value) in options:
            value = options[str(value)]
        name = attribute.get("aname")
        found[name if isinstance(name, str) and name else str(aid)] = value
    return _plain(found)
