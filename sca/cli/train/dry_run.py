"""What `sca train --dry-run` prints."""

from typing import TYPE_CHECKING

from sca.cli.shared.console import print_line
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.train.run.dry_run import DryRun

__all__ = ["document", "show"]


def document(found: "DryRun") -> dict[str, object]:
    """Return the result for programs."""
    needs, machine = found.estimate, found.machine
    return {
        "rows": found.shares.rows,
        "tokens": found.tokens,
        "labels": {kind.name.lower(): round(share, 6) for kind, share in found.shares.shares.items()},
        "loss": {kind.name.lower(): round(share, 6) for kind, share in found.of_loss.items()},
        "fill": round(found.fill, 4),
        "steps": found.steps,
        "parameters": needs.parameters,
        "trainable": needs.trainable,
        "memory_bytes": {
            "weights": needs.weight_bytes,
            "optimizer": needs.optimizer_bytes,
            "gradients": needs.gradient_bytes,
            "activations": needs.activation_bytes,
            "context": needs.context_bytes,
            "device": found.device_bytes,
        },
        "flops_per_token": round(needs.flops_per_token),
        "machine": {
            "name": machine.name,
            "devices": machine.devices,
            "memory_bytes": machine.memory_bytes,
            "free_bytes": machine.free_bytes,
            "flops_per_s": round(machine.flops_per_s),
            "measured": machine.measured,
            "reached": machine.reached,
        },
        "fits": found.fits,
        "tokens_per_s": round(found.tokens_per_s, 1),
        "train_s": round(found.train_s, 1),
    }


def show(found: "DryRun") -> None:
    """Print the result for people."""
    needs, machine = found.estimate, found.machine
    rows = f"{counted(found.shares.rows, 'row')} of {found.tokens:,} tokens, {found.shares.labelled:.0%} of them labels"
    print_line(f"{rows}; {counted(found.steps, 'step')}, {found.fill:.0%} of the places of batches hold tokens")
    of_loss = found.of_loss
    kinds = (
        f"{kind.name.lower().replace('_', ' ')} {share:.1%} ({of_loss[kind]:.0%} of the loss)"
        for kind, share in found.shares.shares.items()
        if share
    )
    print_line(f"labels: {', '.join(kinds)}")
    print_line(f"{needs.parameters:,} parameters, {needs.trainable:,} of them trained")
    parts = {
        "weights": needs.weight_bytes,
        "optimiser": needs.optimizer_bytes,
        "gradients": needs.gradient_bytes,
        "activations and logits": needs.activation_bytes,
        "CUDA": needs.context_bytes,
    }
    listed = ", ".join(f"{name} {_size(size)}" for name, size in parts.items() if size)
    print_line(f"memory for {needs.shape}: {_size(needs.total_bytes)} ({listed})")
    source = "measured" if machine.measured else "data sheet"
    speed = f"{machine.flops_per_s / 1e12:.3g} TFLOP/s ({source}), of which {machine.reached:.0%} is assumed"
    each = "" if machine.devices == 1 else f", each needs {_size(found.device_bytes)} with FSDP"
    fits = "fits" if found.fits else "does not fit"
    memory = f"{_size(machine.memory_bytes)} ({_size(machine.free_bytes)} free)"
    print_line(f"{counted(machine.devices, machine.name)} with {memory}{each}: {fits}; {speed}")
    print_line(f"computed: {found.tokens_per_s:,.0f} tokens/s, {found.train_s / 60:,.1f} min for all steps")


def _size(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"
