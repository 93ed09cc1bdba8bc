"""What a block from the layer's output costs, from shapes alone: for whoever chooses the method."""

from dataclasses import dataclass

# In flops of a large matrix product, measured on one CPU thread with networks of 10⁵ parameters.
AUTOGRAD = 3.0  # one flop of a matrix product inside a backward pass, with all that goes on around it
READING = 0.4  # one byte of the matrices, read once for about ten vectors


@dataclass(frozen=True, slots=True)
class ActivationCost:
    """Flops and bytes of an explicit block; ``rank`` and so all of it is an upper bound before the inputs are seen."""

    units: int  # independent examples (or positions)
    width: int  # outputs of one unit: positions · outputs
    outputs: int
    inputs: int  # length of an input vector, with the 1 of a bias
    itemsize: int = 8
    rank: int | None = None  # of all input vectors; None where it is not known yet

    @property
    def rows(self) -> int:
        """Input vectors in all."""
        return self.units * (self.width // self.outputs)

    @property
    def directions(self) -> int:
        """The rank of the inputs, or its upper bound."""
        return min(self.rows, self.inputs) if self.rank is None else self.rank

    @property
    def size(self) -> int:
        """Of the compressed operator."""
        return self.outputs * self.directions

    @property
    def build_products(self) -> int:
        """Products from the layer's output on, in batches; two more test the examples, and one the whole block."""
        return self.width

    @property
    def bytes(self) -> int:
        """The matrices, and the inputs with their float64 copies; the graphs of the build come on top."""
        return self.units * self.width**2 * self.itemsize + inputs_bytes(self.rows, self.inputs, self.itemsize)

    @property
    def product_flops(self) -> float:
        """Of one vector. Alone it is bound by reading `product_bytes`; ten at once take about twice as long."""
        return 4.0 * self.rows * self.outputs * self.directions + 2.0 * self.units * self.width**2

    @property
    def product_bytes(self) -> float:
        """What one product reads, however many vectors."""
        return float(self.itemsize * (self.units * self.width**2 + 2 * self.rows * self.directions))

    def pays(self, downstream: float, *, products: int) -> bool:
        """Whether computing the matrices costs less than they save.

        Args:
            downstream: flops of one product from the layer's output on, for all data.
            products: with the block that are planned, in blocks of about ten vectors.
        """
        plain = AUTOGRAD * (downstream + 4.0 * self.rows * self.inputs * self.outputs)
        explicit = self.product_flops + READING * self.product_bytes
        return self.build_products * AUTOGRAD * downstream + products * explicit < products * plain


def activation_cost(
    *, examples: int, positions: int, outputs: int, inputs: int, itemsize: int = 8, rank: int | None = None
) -> ActivationCost:
    """The cost where examples are the independent units.

    Args:
        examples: over all micro-batches.
        positions: calls of the layer per example, 1 for one vector.
        outputs: of the layer.
        inputs: of the layer, plus 1 with a bias.
        itemsize: bytes of a number.
        rank: of the inputs, where it is known.
    """
    return ActivationCost(examples, positions * outputs, outputs, inputs, itemsize, rank)


def inputs_bytes(rows: int, inputs: int, itemsize: int) -> int:
    """Memory of the input vectors: themselves, their coordinates, and float64 copies while their span is sought."""
    return rows * inputs * (2 * itemsize + 3 * 8)
