"""3x3 convolutions of an OpenVINO model with 16 multiplications where 36 are written: Winograd's F(2x2, 3x3).

Four answers in a square need 4x4 pixels. Both the pixels and the kernel are brought by sums and differences into a form in which
16 products a pair of channels give all four answers (Lavin and Gray 2016, arXiv:1509.09308, section 4.1, equations 7 and 8).
OpenVINO has no such kernel in bf16. Here it is written with what it does well: tiles are gathered, sums are products with a small
matrix, and each of a tile's 16 places is one matrix product over the channels. From one such layer to the next a map stays a
list of its pixels. How much quicker networks are: benchmarks/results/winograd.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.inference.rewriting import MAP_AXES, kernel_3x3

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

# Lavin and Gray, equation 7: what is done to four pixels in a row (B^T), and to their four products (A^T).
PIXELS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
ANSWERS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
FEWEST_CHANNELS = 256  # with fewer, moving tiles takes about as long as the products that are saved
Size = tuple[str, int]  # a map, by its name, and by what its sides are divided
_UNARY = {"Relu": "relu", "Sigmoid": "sigmoid", "Swish": "swish", "HSwish": "hswish", "HSigmoid": "hsigmoid", "Mish": "mish"}
_WINDOWS = {"Convolution", "GroupConvolution", "MaxPool"}


def with_fewer_products(model: openvino.Model, fewest: int = FEWEST_CHANNELS) -> openvino.Model:
    """The same model, changed in place: its wide 3x3 convolutions of stride 1 as products of tiles.

    Its answers change by rounding: in fp32 by some 1e-6 of their size; in bf16 each such layer errs about twice as much.

    Args:
        fewest: how many channels such a convolution at least takes and gives
    """
    _Rewriting(fewest).of(model)
    return model


class _Rewriting:
    """A model on its way, operation by operation. Maps go by the name of the operation that gives them."""

    def __init__(self, fewest: int) -> None:
        self.fewest = fewest
        self.pixels: dict[str, Any] = {}  # maps that were rewritten, (N H W, C)
        self.sizes: dict[str, Size] = {}
        self.first: dict[Size, Any] = {}  # the first map of each size; since none before it has the size, it is not rewritten
        self.grids: dict[Size, _Grid] = {}

    def of(self, model: openvino.Model) -> None:
        for op in model.get_ordered_ops():
            if not op.get_output_size() or op.get_output_partial_shape(0).rank != MAP_AXES:
                continue
            sources, kernel = _maps_into(op), kernel_3x3(op)
            sizes = {self.sizes.get(_name(source)) for source in sources}
            size = _size_behind(op, sizes)
            self.sizes[op.get_name()] = size
            self.first.setdefault(size, op.output(0))
            if kernel is not None and min(kernel.shape[:2]) >= self.fewest:
                self._becomes(op, _convolved(self._pixels_of(sources[0], kernel.shape[1]), kernel, self._grid(size)))
            elif _is_pixel_by_pixel(op) and len(sizes) == 1 and any(_name(source) in self.pixels for source in sources):
                self._becomes(op, self._pixel_by_pixel(op, sources))

    def _becomes(self, op: Any, pixels: Any) -> None:
        """What reads the map of an operation reads these pixels instead, put together to a map where it is not rewritten."""
        from openvino import opset15

        size = self.sizes[op.get_name()]
        channels = pixels.get_output_partial_shape(0)[1].get_length()
        whole = opset15.reshape(pixels, opset15.concat([self._grid(size).nhw, np.array([channels], np.int32)], 0), False)
        a_map = opset15.transpose(whole, np.array([0, 3, 1, 2]))
        op.output(0).replace(a_map.output(0))
        self.pixels[a_map.get_name()], self.sizes[a_map.get_name()] = pixels, size

    def _pixel_by_pixel(self, op: Any, sources: list[Any]) -> Any:
        from openvino import opset15

        pixels = [self._pixels_of(source, source.get_partial_shape()[1].get_length()) for source in sources]
        if op.get_type_name() in _UNARY:
            return getattr(opset15, _UNARY[op.get_type_name()])(pixels[0])
        return opset15.add(*pixels, *(numbers.reshape(-1) for numbers in _numbers_into(op)))

    def _pixels_of(self, port: Any, channels: int) -> Any:
        """A map as (N H W, C)."""
        from openvino import opset15

        if _name(port) in self.pixels:
            return self.pixels[_name(port)]
        # Of four axes OpenVINO moves the numbers twice; five, two of them of one place, it does not take for a map.
        listed = opset15.reshape(port, np.array([0, 0, -1, 1, 1]), special_zero=True)
        return _shaped(opset15.transpose(listed, np.array([0, 2, 3, 4, 1])), -1, channels)

    def _grid(self, size: Size) -> _Grid:
        if size not in self.grids:
            self.grids[size] = _Grid(self.first[size])
        return self.grids[size]


class _Grid:
    """The tiles of all maps of one size, as nodes that are computed once: which pixels lie in each, and what is added up.

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
    outside = opset15.logical_or(opset15.less(seen, np.array(0, np.int32)), opset15.greater_equal(seen, side))
    return opset15.select(outside, beyond, opset15.multiply(seen, step))


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


def _convolved(pixels: Any, kernel: NDArray[np.float32], grid: _Grid) -> Any:
    """The convolution of a map with a kernel (K, C, 3, 3), zeros around it: (N H W, C) to (N H W, K)."""
    from openvino import opset15

    wide, deep = kernel.shape[:2]
    pixels = opset15.concat([pixels, np.zeros((1, deep), np.float32)], 0)
    tiles = _shaped(opset15.gather(pixels, grid.places, np.array(0)), 16, -1)  # (16, T C)
    seen = _shaped(opset15.matmul(grid.sums, tiles, False, False), 16, -1, deep)
    products = opset15.matmul(seen, _of_tiles(kernel), False, False)  # (16, T, K)
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


def _size_behind(op: Any, sizes: set[Size | None]) -> Size:
    """The size of what an operation gives, from those of the maps that it takes; one of its own where that is not sure."""
    size, kind = (sizes.pop() if len(sizes) == 1 else None), op.get_type_name()
    own = op.get_name(), 1
    if size is None:
        return own
    sizes.add(size)
    if _is_pixel_by_pixel(op) or (kind == "Concat" and op.get_axis() in (1, 1 - MAP_AXES)):
        return size
    step = _step(op) if kind in _WINDOWS else None
    return own if step is None else (size[0], size[1] * step)


def _step(op: Any) -> int | None:
    """By what a window that moves over a map divides its sides, rounded up; None where it does not do so."""
    how = op.get_attributes()
    window = how["kernel"] if op.get_type_name() == "MaxPool" else list(op.input_value(1).get_shape())[-2:]
    reach = [d * (k - 1) for k, d in zip(window, how["dilations"], strict=True)]
    filled = [one + other for one, other in zip(how["pads_begin"], how["pads_end"], strict=True)]
    steps = set(how["strides"])
    whole = how["auto_pad"] == "explicit" and how.get("rounding_type", "floor") == "floor"
    return steps.pop() if whole and reach == filled and len(steps) == 1 else None


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
    return str(port.get_node().get_name())
