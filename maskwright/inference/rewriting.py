"""What an OpenVINO model computes, in fewer steps, and in bf16 nearer to fp32; no answer changes but by rounding.

OpenVINO fuses and chooses kernels by itself. These are what it does not see: rows picked in order are a slice; classes are
chosen faster before a part is cut out; a convolution of a map that was enlarged by repeating its pixels needs four
multiply-adds where nine are written. A pooling window that is larger than its map it does not answer at all. In bf16 it rounds
weights one by one, and the last convolution's sums before classes are chosen from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.inference.rounding import diffused, diffused_transposed
from maskwright.inference.telemetry import without_telemetry
from maskwright.later import torch

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

# Which of a kernel's three rows meet the same row of the small map, by the row's place in the transposed kernel of four: the
# even rows of the large map see small row i through rows 1 and 2 and i - 1 through row 0, the odd ones i through 0 and 1.
MEETING = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)
MAP_AXES = 4
_KERNELS = {"Convolution", "GroupConvolution"}
_MOVING = {"Reshape", "Transpose", "Concat", "Squeeze", "Unsqueeze", "Slice"}
TRANSPOSED = {"ConvolutionBackpropData", "GroupConvolutionBackpropData"}


def rewritten(model: openvino.Model) -> openvino.Model:
    """The same model, changed in place."""
    _slice_what_is_picked_in_order(model)
    _choose_before_slicing(model)
    _convolve_before_repeating(model)
    _pool_to_the_last_pixel(model)
    return model


def joined(before: openvino.Model, network: openvino.Model, after: openvino.Model) -> openvino.Model:
    """Three models in a row as one: the network takes what the first gives, the last takes its answer and the first's input.

    The models are taken over.
    """
    openvino = without_telemetry("openvino", "conversion for OpenVINO")
    (source,), (seen,) = before.get_parameters(), network.get_parameters()
    answer, again = after.get_parameters()
    seen.output(0).replace(before.get_results()[0].input_value(0))
    answer.output(0).replace(network.get_results()[0].input_value(0))
    again.output(0).replace(source.output(0))
    return rewritten(openvino.Model(after.get_results(), [source]))


def near_in_bf16(model: openvino.Model) -> openvino.Model:
    """The same model, changed in place for the number type bf16: weights that bf16 holds exactly, and answers in fp32."""
    _round_kernels(model)
    _keep_sums(model)
    return model


def _slice_what_is_picked_in_order(model: openvino.Model) -> None:
    """Rows or columns 0, 1, ... n - 1 picked by number (sizes.cropped) are a slice, which need not look each of them up."""
    from openvino import opset15

    for op in model.get_ordered_ops():
        if op.get_type_name() != "Gather":
            continue
        numbers, axis = _unconverted(op.input_value(1)), op.input_value(2).get_node()
        if numbers.get_type_name() != "Range" or not _is(numbers.input_value(0), 0) or not _is(numbers.input_value(2), 1):
            continue
        stop = opset15.unsqueeze(opset15.convert(numbers.input_value(1), "i64"), np.array(0))
        first, step = np.array([0], np.int64), np.array([1], np.int64)
        part = opset15.slice(op.input_value(0), first, stop, step, axis.get_data().reshape(-1).astype(np.int64))
        op.output(0).replace(part.output(0))


def _choose_before_slicing(model: openvino.Model) -> None:
    """The likeliest channels of a part are that part of the likeliest channels: chosen first, then cut out.

    Behind a slice the channels of a pixel lie side by side, where OpenVINO takes much longer to choose.
    """
    from openvino import opset15

    for op in model.get_ordered_ops():
        if op.get_type_name() != "TopK" or op.output(0).get_target_inputs() or op.get_output_partial_shape(1).rank.is_dynamic:
            continue
        slices, source, rank = [], op.input_value(0), op.get_output_partial_shape(1).rank.get_length()
        while (axes := _sliced_axes(source.get_node())) and op.get_axis() % rank not in axes:
            slices.append(source.get_node())
            source = source.get_node().input_value(0)
        readers = op.output(1).get_target_inputs()
        op.input(0).replace_source_output(source)
        part = op.output(1)
        for cut in reversed(slices):
            part = opset15.slice(part, *(cut.input_value(k) for k in range(1, cut.get_input_size()))).output(0)
        for reader in readers:
            reader.replace_source_output(part)


def _convolve_before_repeating(model: openvino.Model) -> None:
    """A 3x3 convolution over pixels that were repeated twice each way is a transposed convolution of the small map.

    Two of a kernel's three rows (columns) always meet the same small row (column), so that their weights may be added up
    first: four multiply-adds a pixel for nine. What lies beside the repeated map goes through its own part of the kernel.
    """
    from openvino import opset15

    one = {"strides": [1, 1], "dilations": [1, 1], "pads_begin": [1, 1], "pads_end": [1, 1]}
    for op in model.get_ordered_ops():
        kernel = kernel_3x3(op)
        parts = [] if kernel is None else _side_by_side(op.input_value(0))
        repeated = [_before_repeating(part) for part in parts]
        if kernel is None or not any(repeated):
            continue
        sizes = [part.get_partial_shape()[1].get_length() for part in parts]
        kernels = np.split(kernel, np.cumsum(sizes)[:-1], axis=1)
        beside = [(part, k) for part, k, small in zip(parts, kernels, repeated, strict=True) if small is None]
        terms = []
        if beside:
            maps = opset15.concat([part for part, _ in beside], 1) if len(beside) > 1 else beside[0][0]
            taken = opset15.constant(np.concatenate([k for _, k in beside], axis=1))
            terms.append(opset15.convolution(maps, taken, **one))
        for k, small in zip(kernels, repeated, strict=True):
            if small is not None:
                summed = opset15.constant(np.ascontiguousarray(np.einsum("ia,jb,ocab->coij", MEETING, MEETING, k)))
                terms.append(opset15.convolution_backprop_data(small, summed, **{**one, "strides": [2, 2]}))
        last = op
        if len(terms) > 1 and (bias := _bias_behind(op)) is not None:
            # On the first term, with which the others are added up in place.
            terms[0], last = opset15.add(terms[0], bias[1]), bias[0]
        total = terms[0]
        for term in terms[1:]:
            total = opset15.add(total, term)
        last.output(0).replace(total.output(0))


def _pool_to_the_last_pixel(model: openvino.Model) -> None:
    """Pooling whose sides are rounded up is that of a map with more around its end, with sides rounded down.

    Where a window is larger than the map, OpenVINO gives no answer, or the one before.
    """
    from openvino import opset15

    for op in model.get_ordered_ops():
        kind, how = op.get_type_name(), op.get_attributes()
        if kind not in ("MaxPool", "AvgPool") or not how["rounding_type"].startswith("ceil") or how["auto_pad"] != "explicit":
            continue
        # No window may begin behind the last pixel.
        if any(end + step > k for end, step, k in zip(how["pads_end"], how["strides"], how["kernel"], strict=True)):
            continue
        ends = [end + step - 1 for end, step in zip(how["pads_end"], how["strides"], strict=True)]
        windows = {"strides": how["strides"], "pads_begin": how["pads_begin"], "pads_end": ends, "kernel_shape": how["kernel"]}
        if kind == "MaxPool":
            places = {"index_element_type": how["index_element_type"], "axis": how["axis"]}
            pooled = opset15.max_pool(op.input_value(0), dilations=how["dilations"], rounding_type="floor", **windows, **places)
        elif how["exclude-pad"] or not any((*how["pads_begin"], *how["pads_end"])):
            pooled = opset15.avg_pool(op.input_value(0), exclude_pad=True, rounding_type="floor", **windows)
        else:
            continue
        for old, new in zip(op.outputs(), pooled.outputs(), strict=True):
            old.replace(new)


def _round_kernels(model: openvino.Model) -> None:
    """Weights of convolutions rounded so that kernels keep their sums (rounding.py), kept in fp32."""
    from openvino import opset15

    done: dict[tuple[str, bool, tuple[int, ...]], Any] = {}  # a constant may serve several
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        constant = op.input_value(1).get_node() if kind in _KERNELS | TRANSPOSED else None
        if constant is None or constant.get_type_name() != "Constant" or constant.get_element_type().get_type_name() != "f32":
            continue
        strides = tuple(op.get_attributes()["strides"])
        name = constant.get_name(), kind in TRANSPOSED, strides
        if name not in done and len(strides) == 2:
            weight, to = torch.from_numpy(np.array(constant.get_data())), torch.bfloat16
            rounded = diffused_transposed(weight, strides, to) if kind in TRANSPOSED else diffused(weight, to)
            done[name] = opset15.constant(rounded.float().numpy())
        if name in done:
            op.input(1).replace_source_output(done[name].output(0))


def _keep_sums(model: openvino.Model) -> None:
    """Layers whose sums are the answer, or of whose sums the largest is chosen, give them in fp32.

    OpenVINO does so where a step that stays in fp32 can be put into the layer, as one that changes nothing and hands on what is
    no number. It then chooses classes from maps whose channels lie side by side, where it takes several times longer; where one
    axis holds all pixels they do not.
    """
    from openvino import opset15

    for op in model.get_ordered_ops():
        if op.get_type_name() == "Result":
            _take_in_fp32(op.input(0))
        elif op.get_type_name() == "TopK" and op.get_axis() == 1 and not op.output(0).get_target_inputs():
            _take_in_fp32(op.input(0))
            sums, how = op.input_value(0), op.get_attributes()
            if sums.get_node().get_type_name() != "PRelu" or sums.get_partial_shape().rank.get_length() != MAP_AXES:
                continue
            flat = opset15.reshape(sums, np.array([0, 0, -1]), special_zero=True)  # (N, C, H W)
            settings = how["mode"], how["sort"], how["index_element_type"], how.get("stable", False)
            chosen = opset15.topk(flat, op.input_value(1), 1, *settings).output(1)
            size = opset15.concat([*_lengths(sums, 0, 1), *_lengths(chosen, 1, 2), *_lengths(sums, 2, 4)], 0)
            op.output(1).replace(opset15.reshape(chosen, size, special_zero=False).output(0))


def _take_in_fp32(reader: Any) -> None:
    """Where what is read here are the sums of layers, moved about at most, and nothing else reads them: in fp32."""
    from openvino import opset15

    source = reader.get_source_output()
    op = source.get_node()
    if op.get_type_name() in _MOVING:
        for port in op.inputs() if op.get_type_name() == "Concat" else [op.input(0)]:
            _take_in_fp32(port)
    elif _is_of_sums(op) and len(source.get_target_inputs()) == 1:
        reader.replace_source_output(opset15.prelu(source, np.ones(1, np.float32)).output(0))


def _lengths(port: Any, first: int, stop: int) -> list[Any]:
    """Some of a map's lengths, as a list of one number-giving node."""
    from openvino import opset15

    return [opset15.gather(opset15.shape_of(port), np.arange(first, stop), np.array(0))]


def _is_of_sums(op: Any) -> bool:
    """Whether it is a layer, or the number that is added to each channel behind one."""
    if op.get_type_name() == "Add" and op.input_value(1).get_node().get_type_name() == "Constant":
        op = op.input_value(0).get_node()
    return op.get_type_name() in ("Convolution", "MatMul") and op.get_output_partial_shape(0).rank.is_static


def kernel_3x3(op: Any) -> NDArray[np.float32] | None:
    """The weights (O, I, 3, 3) of a 3x3 convolution that keeps the size and whose weights are known."""
    if op.get_type_name() != "Convolution" or op.input_value(1).get_node().get_type_name() != "Constant":
        return None
    how, kernel = op.get_attributes(), op.input_value(1).get_node().get_data()
    ones = ("strides", "dilations", "pads_begin", "pads_end")
    plain = how["auto_pad"] == "explicit" and all(list(how[name]) == [1, 1] for name in ones)
    return kernel if plain and kernel.dtype == np.float32 and kernel.shape[2:] == (3, 3) else None


def _side_by_side(port: Any) -> list[Any]:
    """The maps that were put side by side for one reader alone, or the one map; none where channels are not known."""
    joined = port.get_node()
    if joined.get_type_name() == "Concat" and joined.get_axis() in (1, -3) and len(port.get_target_inputs()) == 1:
        parts = list(joined.input_values())
    else:
        parts = [port]
    return (
        parts if all(part.get_partial_shape().rank.is_static and part.get_partial_shape()[1].is_static for part in parts) else []
    )


def _before_repeating(port: Any) -> Any:
    """The small map, where every pixel of a map is one of it repeated twice in height and width; None elsewhere."""
    op = port.get_node()
    if op.get_type_name() != "Interpolate" or op.get_input_size() < 3:
        return None
    how, known = op.get_attributes(), [op.input_value(k).get_node() for k in (1, 2)]
    repeats = (how["mode"], how["shape_calculation_mode"]) == ("nearest", "scales") and (
        (how["coordinate_transformation_mode"], how["nearest_mode"]) == ("asymmetric", "floor")
    )
    if not repeats or any(how["pads_begin"]) or any(how["pads_end"]) or any(n.get_type_name() != "Constant" for n in known):
        return None
    scales, axes = (node.get_data().tolist() for node in known)
    return op.input_value(0) if (scales, axes) == ([2.0, 2.0], [2, 3]) else None


def _bias_behind(op: Any) -> tuple[Any, Any] | None:
    """The one addition of a number for each channel behind an operation, and the port of those numbers."""
    readers = list(op.output(0).get_target_inputs())
    if len(readers) != 1 or readers[0].get_node().get_type_name() != "Add":
        return None
    addition = readers[0].get_node()
    numbers = addition.input_value(1 - readers[0].get_index())
    if numbers.get_node().get_type_name() != "Constant" or list(numbers.get_shape())[2:] != [1, 1]:
        return None
    return addition, numbers


def _sliced_axes(op: Any) -> list[int]:
    """The axes that a Slice cuts; none of what is no Slice, or where they are not known before it runs."""
    if op.get_type_name() != "Slice" or op.get_input_size() < 5 or op.input_value(4).get_node().get_type_name() != "Constant":
        return []
    rank = op.get_output_partial_shape(0).rank.get_length()
    return [axis % rank for axis in op.input_value(4).get_node().get_data().tolist()]


def _is(port: Any, value: float) -> bool:
    node = _unconverted(port)
    return node.get_type_name() == "Constant" and node.get_data().size == 1 and float(node.get_data().reshape(())) == value


def _unconverted(port: Any) -> Any:
    """The node behind a port, or behind the conversions of its number type."""
    node = port.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node
