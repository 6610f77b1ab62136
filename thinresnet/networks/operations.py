"""What an operation between two layers does with labels: it moves them, makes those that meet one, or is refused.

An operation that moves elements (cat, split, slice, permute, reshape) moves the shadow the same way; one that combines
elements one by one ties the labels that meet; sums over places keep them. What the rules do not cover is refused by
name. Which operations combine elements one by one is no list of names: `pointwise` finds out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from thinresnet.errors import InputError
from thinresnet.networks.labels import FREE, LabelRelations
from thinresnet.networks.pointwise import passes_trial, tagged
from thinresnet.networks.shadows import compact, in_order, regrouped, stretchable, varying, with_dims

_MOVING = {  # the shadow goes through the same operation
    "permute", "transpose", "t", "unsqueeze", "squeeze", "slice", "select", "cat", "stack", "unbind", "flip", "roll",
    "repeat", "narrow", "index_select", "movedim", "split", "split_with_sizes", "pixel_shuffle", "pixel_unshuffle",
}  # fmt: skip
_KEEPING = {  # the shadow stays as it is, although elements may depend on others
    "clone", "contiguous", "detach", "alias", "_to_copy", "lift_fresh", "copy", "_softmax", "_log_softmax", "softmax",
    "native_dropout", "dropout", "cumsum", "bernoulli",
}  # fmt: skip
_RESHAPING = {"view", "_unsafe_view", "reshape", "_reshape_alias", "expand", "flatten", "unflatten", "view_as"}
_REDUCING = {"mean", "sum", "amax", "amin", "var", "std", "var_mean", "max", "logsumexp", "linalg_vector_norm", "norm"}
_POOLING = {
    "avg_pool2d", "max_pool2d_with_indices", "max_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool2d",
    "adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d",
    "_upsample_nearest_exact2d", "reflection_pad2d", "replication_pad2d", "im2col",
}  # fmt: skip
_MULTIPLYING = {"mm", "bmm", "matmul", "addmm", "baddbmm", "_scaled_dot_product_attention_math"}


class ChannelFlow:
    """The shadow of every tensor that channels have reached, and the rules by which operations pass shadows on."""

    def __init__(self, network: str):
        self.network = network  # what messages call it
        self.labels = LabelRelations()
        self.shadows: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.additions: list[tuple[str, Tensor]] = []  # where two maps are added, and which channels
        self.path: list[str] = []  # the modules whose forward runs now, the innermost last

    def refuse(self, layer: str | None, reason: str) -> Any:
        """Refuse the network, naming the layer, or else the module whose forward runs now."""
        where = layer or (self.path[-1] if self.path and self.path[-1] else "the network's forward")
        raise InputError(f"{self.network} cannot be served: in {where}, {reason}")

    def along(self, name: str, shadow: Tensor, dim: int) -> Tensor:
        """The labels along a dimension, which must not depend on the others."""
        if any(other != dim for other in varying(shadow)):
            self.refuse(name, "what it reads differs in its channels from place to place (tokens, mixed maps)")
        index: list[Any] = [0] * shadow.dim()
        index[dim] = slice(None)
        return shadow[tuple(index)].clone()

    def follow(self, func: Any, args: tuple[Any, ...], kwargs: Any, output: Any) -> Any:
        """The shadow of what an operation put out, or None where no channel stands in it."""
        op = func.overloadpacket.__name__
        op = op[:-1] if op.endswith("_") else op
        first = args[0] if isinstance(args[0], Tensor) else None
        shadow = self.shadows.get(first) if first is not None else None
        if op in _MOVING:
            return self._move(func, op, args, kwargs)
        if tagged(func):
            return self._meet(op, args, kwargs, output)
        if op in _MULTIPLYING:
            return self._contract(op, args, output)
        if shadow is None:
            return None
        if op in _KEEPING:
            return [shadow if t.shape == shadow.shape else None for t in as_list(output)]
        if op in _RESHAPING:
            return self._reshape(shadow, output)
        if op in _REDUCING:
            return [self._reduce(op, shadow, args, kwargs, t) for t in as_list(output)]
        if op in _POOLING:
            return [self._pool(op, shadow, t) for t in as_list(output)]
        if op == "constant_pad_nd":
            return self._pad(shadow, args[1], output)
        if op == "convolution":
            return self._convolve(args, shadow, output)
        if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(output)):
            return None
        if passes_trial(func, args, kwargs):
            return self._meet(op, args, kwargs, output)
        return self.refuse(None, f"the operation {op!r} combines channels in a way that is not known here")

    def _move(self, func: Any, op: str, args: tuple[Any, ...], kwargs: Any) -> Any:
        def shadow_of(tensor: Tensor) -> Tensor:
            found = self.shadows.get(tensor)
            return torch.full([1] * tensor.dim(), FREE).expand(tensor.shape) if found is None else found

        moved = func(*tree_map_only(Tensor, shadow_of, args), **tree_map_only(Tensor, shadow_of, kwargs))
        if op in ("split", "split_with_sizes"):
            self._tie_equal_parts(args[2] if len(args) > 2 else kwargs.get("dim", 0), moved)
        return moved

    def _tie_equal_parts(self, dim: int, parts: Sequence[Tensor]) -> None:
        """A split into equal parts is written with one size or one count: the parts stay equal."""
        if len({part.shape[dim] for part in parts}) == 1 and dim % parts[0].dim() in varying(
            torch.cat(list(parts), dim)
        ):
            self.labels.tie_parts([compact(part) for part in parts])

    def _meet(self, op: str, args: tuple[Any, ...], kwargs: Any, output: Tensor) -> Tensor | None:
        """Element by element: what meets is the same channel. A map of one channel gates the others untied."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        shadows = [self.shadows[tensor] for tensor in tensors if tensor in self.shadows]
        full = [with_dims(shadow, output.dim()) for shadow in shadows]
        dims = {dim for shadow in full for dim in varying(shadow)}
        meeting = [shadow for shadow in full if not dims or any(shadow.shape[dim] > 1 for dim in dims)]
        broadcast = torch.broadcast_tensors(*[compact(shadow) for shadow in meeting])
        met = [self.labels.tie(broadcast[0], other) for other in broadcast[1:]]
        maps = [t for t in tensors if t in self.shadows and not isinstance(t, nn.Parameter)]
        if op in ("add", "sub") and len(maps) > 1 and any(met):
            self.additions.append((self.path[-1], broadcast[0]))
        result = broadcast[0]
        for other in broadcast[1:]:  # padding is no channel: what it meets stays what it is
            result = torch.where(result == FREE, other, result)
        return result.expand(output.shape)

    def _reshape(self, shadow: Tensor, output: Tensor) -> Tensor:
        reshaped = shadow.reshape(output.shape) if shadow.numel() == output.numel() else shadow.expand(output.shape)
        for before, after in regrouped(shadow.shape, output.shape):
            varying_before = [dim for dim in before if dim in varying(shadow)]
            varying_after = [dim for dim in after if dim in varying(reshaped)]
            if len(varying_before) == 1 and len(varying_after) == 2:
                self._tie_rows(reshaped, varying_after)
            elif len(varying_before) == 2 and len(varying_after) == 1:
                rows, columns = varying_before
                if shadow.shape[columns] < shadow.shape[rows] and not in_order(shadow, rows, columns):
                    reshaped = self._shuffle(shadow, rows, columns, output, varying_after[0])
        return reshaped

    def _tie_rows(self, shadow: Tensor, dims: list[int]) -> None:
        """`[c]` seen as `[k, c / k]`, k fixed in the code and the smaller of the two: the k rows have one width."""
        fixed = min(dims, key=lambda dim: shadow.shape[dim])
        self.labels.tie_parts(compact(shadow).unbind(fixed))

    def _shuffle(self, shadow: Tensor, rows: int, columns: int, output: Tensor, dim: int) -> Tensor:
        """`[c / k, k]` seen as `[c]`: a channel shuffle, which deals the k parts out in turn.

        What comes out is k parts of the width that went in; which channel went where is known for one width only, so
        that the new parts keep the width and lose the identity.
        """
        parts = [self.along("a channel shuffle", part, rows) for part in shadow.split(1, columns)]
        fresh = self.labels.shuffle(parts)
        shape = [1] * output.dim()
        shape[dim] = -1
        return torch.cat(fresh).view(shape).expand(output.shape)

    def _reduce(self, op: str, shadow: Tensor, args: tuple[Any, ...], kwargs: Any, output: Tensor) -> Tensor:
        place = 2 if op in ("norm", "linalg_vector_norm") else 1  # of the dimensions among the arguments
        dims = kwargs.get("dim", args[place] if len(args) > place else None)
        if dims is None or dims == []:
            dims = list(range(shadow.dim()))
        dims = [dim % shadow.dim() for dim in ([dims] if isinstance(dims, int) else dims)]
        along = varying(shadow)
        for dim in sorted(dims, reverse=True):
            if dim not in along:
                rest = shadow.narrow(dim, 0, 1)
            elif len(along) > 1:  # branches stacked beside the channels and summed over
                branches = shadow.split(1, dim)
                for other in branches[1:]:
                    self.labels.tie(compact(branches[0]), compact(other))
                rest = branches[0]
            else:  # a sum over the channels themselves belongs to none of them
                rest = torch.full_like(shadow.narrow(dim, 0, 1), FREE)
            shadow = rest if output.dim() == rest.dim() else rest.squeeze(dim)
        return shadow.expand(output.shape)

    def _pool(self, op: str, shadow: Tensor, output: Tensor) -> Tensor:
        if output.dim() != shadow.dim() or output.shape[:2] != shadow.shape[:2] or {2, 3} & set(varying(shadow)):
            self.refuse(None, f"the operation {op!r} moves channels")
        return shadow[..., :1, :1].expand(output.shape)

    def _pad(self, shadow: Tensor, pads: Sequence[int], output: Tensor) -> Tensor:
        along = varying(shadow)
        padded = [0] * len(pads)
        for i in range(len(pads) // 2):
            dim = shadow.dim() - 1 - i
            if dim in along or (dim == 1 and shadow.shape[dim] == 1):
                padded[2 * i : 2 * i + 2] = pads[2 * i : 2 * i + 2]
            else:
                shadow = shadow.narrow(dim, 0, 1).expand(
                    *[output.shape[dim] if d == dim else -1 for d in range(shadow.dim())]
                )
        return nn.functional.pad(stretchable(shadow), padded, value=FREE).expand(output.shape)

    def _convolve(self, args: tuple[Any, ...], shadow: Tensor, output: Tensor) -> Tensor:
        """A convolution that is no layer: one along the channels (ECA), whose weights know no channel."""
        x, weight = args[0], args[1]
        if weight.shape[:2] == (1, 1) and x.shape == output.shape and x.shape[1] == 1:
            return shadow
        return self.refuse(None, "a convolution whose weights are not those of a layer")

    def _contract(self, op: str, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """A product that sums over places, not channels: pooling with weights. Any other mixes channels."""
        left, right = args[-2:] if op in ("addmm", "baddbmm") else args[:2]
        one, other = self.shadows.get(left), self.shadows.get(right)
        one = torch.full([1] * left.dim(), FREE).expand(left.shape) if one is None else one
        other = torch.full([1] * right.dim(), FREE).expand(right.shape) if other is None else other
        summed_one, summed_other = one.dim() - 1, max(other.dim() - 2, 0)
        if op == "_scaled_dot_product_attention_math" or summed_one in varying(one) or summed_other in varying(other):
            self.refuse(None, f"{op!r} mixes channels by weights that depend on the image (attention)")
        if varying(one) and varying(other):
            self.refuse(None, f"{op!r} multiplies channels with channels (attention)")
        if varying(one):
            return one.narrow(summed_one, 0, 1).expand(output.shape)
        return other.narrow(summed_other, 0, 1).expand(output.shape)


def as_list(value: Any) -> list[Any]:
    """What an operation returns as a list, be it one tensor or several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
