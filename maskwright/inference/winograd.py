"""3x3 convolutions of an OpenVINO model with 16 multiplications where 36 are written: Winograd's F(2x2, 3x3).

Four answers in a square need 4x4 pixels. Both the pixels and the kernel are brought by sums and differences into a form in which
16 products a pair of channels give all four answers (Lavin and Gray 2016, arXiv:1509.09308, section 4.1, equations 7 and 8).
OpenVINO has no such kernel. Here it is written with what it does well: tiles are gathered, sums are products with a small
matrix, and each of a tile's 16 places is one matrix product over the channels. From one such layer to the next a map stays a
list of its pixels. How much quicker networks are: benchmarks/results/winograd.md.

Networks that put maxima back to where they were (SegNet) are left as they are: in a flat area all of a window is equal, rounding
decides which place is taken, and another one changes what is drawn there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maskwright.inference.rewriting import MAP_AXES, TRANSPOSED, kernel_3x3

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

# Lavin and Gray, equation 7: what is done to four pixels in a row (B^T), and to their four products (A^T).
PIXELS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
ANSWERS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
FEWEST_CHANNELS = 256  # with fewer, moving tiles takes about as long as the products that are saved
LEAST_DIVIDED = 8  # tiles take four times the memory of their map, which is much where a map is nearly as large as the image
_UNARY = {"Relu": "relu", "Sigmoid": "sigmoid", "Swish": "swish", "HSwish": "hswish", "HSigmoid": "hsigmoid", "Mish": "mish"}
_WINDOWS = {"Convolution", "GroupConvolution", "MaxPool"}


def with_fewer_products(
    model: openvino.Model, fewest: int = FEWEST_CHANNELS, least_divided: int = LEAST_DIVIDED
) -> openvino.Model:
    """The same model, changed in place: its wide 3x3 convolutions of stride 1 as products of tiles.

    One that reads at which places of its windows the maxima were stays as it is.
    Its answers change by rounding: in fp32 by some 1e-6 of their size; in bf16 each such layer errs up to twice as much.

    Args:
        fewest: how many channels such a convolution at least takes and gives
        least_divided: by what the sides of the model's input were divided at least on the way to it
    """
    if not _reads_places(model):
        _Rewriting(fewest, least_divided).of(model)
    return model


class _Place(NamedTuple):
    """Where a map stands: maps of the same first two have the same images, height and width.

    Attributes:
        base: the map from whose sides its own are known to follow
        steps: by what the sides of that one are divided, rounded up
        divided: by what the sides of the model's input were divided, about; 1 where that is not known
    """

    base: str
    steps: int
    divided: int


class _Rewriting:
    """A model on its way, operation by operation; maps go by the name of their port."""

    def __init__(self, fewest: int, least_divided: int) -> None:
        self.fewest, self.least_divided = fewest, least_divided
        self.places: dict[str, _Place] = {}
        self.pixels: dict[str, Any] = {}  # maps that were rewritten, (N H W, C)
        self.listed: dict[str, Any] = {}  # maps that were not, but are read as pixels
        self.grids: dict[tuple[str, int], _Grid] = {}
        self.weights: dict[str, Any] = {}  # by the constant that they were

    def of(self, model: openvino.Model) -> None:
        for op in model.get_ordered_ops():
            sources = _maps_into(op)
            before = [self.places.get(_name(source)) for source in sources]
            for port in op.outputs():
                if port.get_partial_shape().rank == MAP_AXES:
                    self.places[_name(port)] = _place_of(port, before)
            if self._pays(op) and before[0] is not None:
                grid = self._grid(before[0], sources[0])
                pixels = self._pixels_of(sources[0], kernel_3x3(op).shape[1])  # type: ignore[union-attr]
                self._becomes(op, _convolved(pixels, self._weights_of(op), grid))
            elif _is_pixel_by_pixel(op) and _agree(before) and any(_name(source) in self.pixels for source in sources):
                self._becomes(op, self._pixel_by_pixel(op, sources))

    def _pays(self, op: Any) -> bool:
        kernel = kernel_3x3(op)
        wide = kernel is not None and min(kernel.shape[:2]) >= self.fewest and len(_maps_into(op)) == 1
        return wide and self.places[_name(op.output(0))].divided >= self.least_divided and not _is_answer(op.output(0))

    def _weights_of(self, op: Any) -> Any:
        from openvino import opset15

        constant = op.input_value(1).get_node()
        if constant.get_name() not in self.weights:
            self.weights[constant.get_name()] = opset15.constant(_of_tiles(constant.get_data()))
        return self.weights[constant.get_name()]

    def _becomes(self, op: Any, pixels: Any) -> None:
        """What reads the map of an operation reads these pixels instead, put together to a map where it is not rewritten."""
        from openvino import opset15

        place = self.places[_name(op.output(0))]
        channels = np.array([pixels.get_output_partial_shape(0)[1].get_length()], np.int32)
        whole = opset15.reshape(pixels, opset15.concat([self.grids[place[:2]].nhw, channels], 0), False)
        a_map = opset15.transpose(whole, np.array([0, 3, 1, 2])).output(0)
        op.output(0).replace(a_map)
        self.pixels[_name(a_map)], self.places[_name(a_map)] = pixels, place

    def _pixel_by_pixel(self, op: Any, sources: list[Any]) -> Any:
        from openvino import opset15

        pixels = [self._pixels_of(source, source.get_partial_shape()[1].get_length()) for source in sources]
        if op.get_type_name() in _UNARY:
            return getattr(opset15, _UNARY[op.get_type_name()])(pixels[0])
        return opset15.add(*pixels, *(numbers.reshape(-1) for numbers in _numbers_into(op)))

    def _pixels_of(self, port: Any, channels: int) -> Any:
        """A map as (N H W, C)."""
        from openvino import opset15

        name = _name(port)
        if name in self.pixels:
            return self.pixels[name]
        if name not in self.listed:
            # Of four axes OpenVINO moves the numbers twice; five, two of them of one place, it does not take for a map.
            flat = opset15.reshape(port, np.array([0, 0, -1, 1, 1]), special_zero=True)
            self.listed[name] = _shaped(opset15.transpose(flat, np.array([0, 2, 3, 4, 1])), -1, channels)
        return self.listed[name]

    def _grid(self, place: _Place, a_map: Any) -> _Grid:
        """The tiles of maps of this size; the first that asks is not rewritten, and can be asked for its sides."""
        if place[:2] not in self.grids:
            self.grids[place[:2]] = _Grid(a_map)
        return self.grids[place[:2]]


class _Grid:
    """The T tiles of all maps of one size, as nodes that are computed once: which pixels lie in each, and what is added up.

    Attributes:
        places: (16 T,) which of N H W + 1 pixels lies at each place of each tile of 4x4, the last one beyond the border
        homes: (N H W,) which of 4 T answers belongs to each pixel
        sums, answers: the small matrices for pixels and answers, (16, 16) and (4, 16)
        nhw: (3,) images, height and width
    """

    def __init__(self, a_map: Any) -> None:
        from openvino import opset15

        size = opset15.convert(opset15.shape_of(a_map), "i32")
        n, h, w = (opset15.gather(size, np.array([axis], np.int32), np.array(0)) for axis in (0, 2, 3))
        one, two = np.array([1], np.int32), np.array([2], np.int32)
        self.nhw = opset15.concat([n, h, w], 0)
        tile_rows, tile_columns = (opset15.divide(opset15.add(side, one), two) for side in (h, w))
        of_an_image, pixels = opset15.multiply(tile_rows, tile_columns), opset15.multiply(h, w)
        beyond, tiles = opset15.multiply(n, pixels), opset15.multiply(n, of_an_image)
        rows = _shaped(_near_tiles(tile_rows, h, w, beyond), 4, 1, 1, -1, 1)
        columns = _shaped(_near_tiles(tile_columns, w, one, beyond), 1, 4, 1, 1, -1)
        images = _shaped(_counted(n, pixels), 1, 1, -1, 1, 1)
        places = opset15.add(opset15.add(rows, columns), images)  # (4, 4, N, H/2, W/2)
        self.places = _shaped(opset15.minimum(places, beyond), -1)
        # Answers lie row and column within their tile first, then image, row of tiles and column of tiles.
        rows = _shaped(_in_pairs(h, opset15.multiply(two, tiles), tile_columns), 1, -1, 1)
        columns = _shaped(_in_pairs(w, tiles, one), 1, 1, -1)
        self.homes = _shaped(opset15.add(opset15.add(rows, columns), _shaped(_counted(n, of_an_image), -1, 1, 1)), -1)
        # OpenVINO multiplies by a known matrix on the left in fp32, whatever is asked; by one that hangs on a size it does not.
        always_one = opset15.convert(opset15.minimum(beyond, one), "f32")
        self.sums = opset15.multiply(np.kron(PIXELS, PIXELS), always_one)
        self.answers = opset15.multiply(np.kron(ANSWERS, ANSWERS), always_one)


def _near_tiles(tiles: Any, side: Any, step: Any, beyond: Any) -> Any:
    """Of the four rows (columns) that each row (column) of tiles sees, where its first pixel lies; `beyond` past the border.

    Shapes:
        tiles, side, step, beyond: (1,) each
        returns: (4, tiles)
    """
    from openvino import opset15

    seen = opset15.add(_counted(tiles, np.array([2], np.int32)), np.array([[-1], [0], [1], [2]], np.int32))
    past = opset15.logical_or(opset15.less(seen, np.array(0, np.int32)), opset15.greater_equal(seen, side))
    outside = opset15.convert(past, "i32")
    inside = opset15.subtract(np.array(1, np.int32), outside)
    # By Select OpenVINO would pass numbers on as fp32, in which they are not exact above 2^24.
    return opset15.add(opset15.multiply(opset15.multiply(seen, step), inside), opset15.multiply(outside, beyond))


def _in_pairs(count: Any, second: Any, pair: Any) -> Any:
    """0, second, pair, pair + second, 2 pair, ...: (count,)."""
    from openvino import opset15

    numbers, two = _counted(count, np.array([1], np.int32)), np.array([2], np.int32)
    pairs = opset15.divide(numbers, two)
    odd = opset15.subtract(numbers, opset15.multiply(pairs, two))
    return opset15.add(opset15.multiply(pairs, pair), opset15.multiply(odd, second))


def _counted(count: Any, step: Any) -> Any:
    """0, step, 2 step, ...: (count,)."""
    from openvino import opset15

    numbers = opset15.range(np.array(0, np.int32), opset15.squeeze(count, np.array(0)), np.array(1, np.int32), "i32")
    return opset15.multiply(numbers, step)


def _convolved(pixels: Any, weights: Any, grid: _Grid) -> Any:
    """The convolution of a map with the weights of tiles (16, C, K), zeros around it: (N H W, C) to (N H W, K)."""
    from openvino import opset15

    deep, wide = list(weights.get_output_shape(0))[1:]
    pixels = opset15.concat([pixels, np.zeros((1, deep), np.float32)], 0)
    tiles = _shaped(opset15.gather(pixels, grid.places, np.array(0)), 16, -1)  # (16, T C)
    seen = _shaped(opset15.matmul(grid.sums, tiles, False, False), 16, -1, deep)
    products = opset15.matmul(seen, weights, False, False)  # (16, T, K)
    answers = opset15.matmul(grid.answers, _shaped(products, 16, -1), False, False)  # (4, T K)
    return opset15.gather(_shaped(answers, -1, wide), grid.homes, np.array(0))


def _of_tiles(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights of each place of a tile, G g G^T: (K, C, 3, 3) to (16, C, K)."""
    for axis in (2, 3):
        first, middle, last = np.moveaxis(kernel, axis, 0)
        outer, middle = (first + last) / 2, middle / 2
        kernel = np.stack([first, outer + middle, outer - middle, last], axis)
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0).reshape(16, *kernel.shape[1::-1]))


def _shaped(numbers: Any, *shape: int) -> Any:
    from openvino import opset15

    return opset15.reshape(numbers, np.array(shape), False)


def _reads_places(model: openvino.Model) -> bool:
    """Whether anything reads at which places of its windows the maxima were."""
    pools = [op for op in model.get_ops() if op.get_type_name() == "MaxPool" and op.get_output_size() > 1]
    return any(pool.output(1).get_target_inputs() for pool in pools)


def _place_of(port: Any, before: list[_Place | None]) -> _Place:
    """Where a map stands, from where the maps stand that its operation takes; a base of its own where no size is sure."""
    op, known = port.get_node(), [place for place in before if place is not None]
    kind, divided = op.get_type_name(), max((place.divided for place in known), default=1)
    step = _step(op) if kind in _WINDOWS else 1
    if kind in _WINDOWS:
        divided *= max(op.get_attributes()["strides"])
    elif kind in TRANSPOSED:
        divided = max(1, divided // max(op.get_attributes()["strides"]))
    elif kind == "Interpolate":
        divided = 1
    beside = kind == "Concat" and op.get_axis() in (1, 1 - MAP_AXES)
    if step is not None and _agree(before) and (kind in _WINDOWS or beside or _is_pixel_by_pixel(op)):
        return _Place(known[0].base, known[0].steps * step, divided)
    return _Place(_name(port), 1, divided)


def _agree(places: list[_Place | None]) -> bool:
    """Whether maps are all known to have the same size."""
    return None not in places and len({place[:2] for place in places if place is not None}) == 1


def _step(op: Any) -> int | None:
    """By what a window that moves over a map divides its sides, rounded up; None where it does not do so."""
    how = op.get_attributes()
    window = how["kernel"] if op.get_type_name() == "MaxPool" else list(op.input_value(1).get_shape())[-2:]
    apart = how.get("dilations", [1, 1])
    reach = [d * (k - 1) for k, d in zip(window, apart, strict=True)]
    filled = [one + other for one, other in zip(how["pads_begin"], how["pads_end"], strict=True)]
    steps = set(how["strides"])
    whole = how["auto_pad"] == "explicit" and how.get("rounding_type", "floor") == "floor"
    return steps.pop() if whole and reach == filled and len(steps) == 1 else None


def _is_answer(port: Any) -> bool:
    """Whether the model gives a map to its user, moved about and with a number added to each channel at most."""
    for reader in port.get_target_inputs():
        op = reader.get_node()
        kind = op.get_type_name()
        if kind == "Result" or (kind in ("Add", "Transpose") and len(_maps_into(op)) == 1 and _is_answer(op.output(0))):
            return True
    return False


def _is_pixel_by_pixel(op: Any) -> bool:
    """Whether each number of a map becomes another by itself, or is added to another map's or to its channel's number."""
    if op.get_type_name() in _UNARY:
        return bool(op.get_input_size() == 1)
    if op.get_type_name() != "Add":
        return False
    shapes = [port.get_partial_shape() for port in _maps_into(op)]
    maps = all(shape.rank == MAP_AXES and shape[1].is_static for shape in shapes)
    return maps and all([*numbers.shape[:1], *numbers.shape[2:]] == [1, 1, 1] for numbers in _numbers_into(op))


def _maps_into(op: Any) -> list[Any]:
    return [port for port in op.input_values() if port.get_node().get_type_name() != "Constant"]


def _numbers_into(op: Any) -> list[NDArray[Any]]:
    nodes = [port.get_node() for port in op.input_values()]
    return [node.get_data() for node in nodes if node.get_type_name() == "Constant"]


def _name(port: Any) -> str:
    return f"{port.get_node().get_name()}:{port.get_index()}"
