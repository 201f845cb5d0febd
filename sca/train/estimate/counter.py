"""Counts the memory and the operations of what runs under it, on real tensors or on fake ones that have no memory."""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch  # noqa: TID253 - torch's dispatcher requires its base class
from torch._subclasses.fake_tensor import FakeTensor  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253
from torch.utils._pytree import tree_leaves  # noqa: TID253
from torch.utils.flop_counter import flop_registry  # noqa: TID253
from typing_extensions import override

__all__ = ["WorkCounter"]

_ATEN = torch.ops.aten
_SAME = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _ATEN._scaled_dot_product_flash_attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _ATEN._scaled_dot_product_flash_attention_backward,
}
"""Kernels that torch's formulas do not know, and those with the same operations."""


class WorkCounter(TorchDispatchMode):  # type: ignore[misc]  # torch has no types here
    """A mode in which torch's operations are counted: `with WorkCounter(model.parameters()) as counter: ...`.

    A storage counts from the operation that returns it until it is freed. Storages that exist before, and temporary
    ones inside an operation, are not counted. Operations are those of `torch.utils.flop_counter`, with the kernels of
    a CPU and `grouped_mm`, which it does not know; a multiplication and an addition are two.

    Attributes:
        live_bytes: Bytes of the storages that exist now.
        peak_bytes: Largest `live_bytes` so far.
        flops: Operations so far.
    """

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        """Create a counter.

        Args:
            known: Tensors that are not counted, such as the weights, of which operations return views.
        """
        super().__init__()
        self.live_bytes = self.peak_bytes = self.flops = 0
        self._known = [tensor.untyped_storage() for tensor in known]  # keeps them in the next line's dictionary
        self._seen = weakref.WeakKeyDictionary(dict.fromkeys(self._known))

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        grouped = func.overloadpacket is _ATEN._grouped_mm
        # Fake tensors accept bfloat16 only, real ones of a CPU float32 too.
        fake = grouped and isinstance(args[0], FakeTensor)
        result = _grouped_result(*args, **kwargs) if fake else func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        if grouped:
            self.flops += 2 * args[0].shape[0] * args[0].shape[1] * args[1].shape[-1]
        elif formula := flop_registry.get(_SAME.get(func.overloadpacket, func.overloadpacket)):
            self.flops += int(formula(*args, **kwargs, out_val=result))
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        size = storage.nbytes()
        self._seen[storage] = None
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.live_bytes -= size


def _grouped_result(left: torch.Tensor, right: torch.Tensor, offs: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """Return a tensor like a product in groups: of rows (2-D times 3-D), or of columns (2-D times 2-D)."""
    groups = (len(offs),) if right.dim() == left.dim() else ()
    return left.new_empty(*groups, left.shape[0], right.shape[-1])
