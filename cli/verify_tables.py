"""How a verification report looks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .common import stdout

if TYPE_CHECKING:
    from ..export.report import Report, VariantReport

__all__ = ["print_report"]


def print_report(report: Report, default: str | None) -> None:
    """Tables of the parts and of the fused answers, and a verdict. `default`: kind of fusion, where there is one."""
    out = stdout()
    out.print(_parts(report))
    if default is None:
        out.print("Nothing is fused in this bundle.\n")
    elif report.fused is None:
        out.print("No labelled samples: the fused answers are not verified.\n")
    else:
        for table in _fused(report, default):
            out.print(table)
    for part, each in report.parts.items():
        told = {name: made.same_token for name, made in each.variants.items() if made.same_token is not None}
        if told:
            shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in told.items())
            out.print(f"{part}: the same token is likeliest, {each.feeds} steps of captions: {shares}", soft_wrap=True)
    for refused in report.refused:
        out.print(
            f"left out: {refused.part} {refused.precision}, {refused.tensor} {refused.figure:.4g}"
            f" (limit {refused.limit:g})",
            soft_wrap=True,
        )
    if (words := _spent(report)) is not None:
        out.print(words, soft_wrap=True)
    for note in report.notes:
        out.print(note, soft_wrap=True)
    reference = "torch" if report.reference == "torch" else "the FP32 graphs (without torch and the checkpoint)"
    verdict = "[bold green]passed[/]" if report.passed else "[bold red]FAILED[/]"
    out.print(f"Verification {verdict}; compared with {reference}.", soft_wrap=True)


def _spent(report: Report) -> str | None:
    """What the export took, and which part most of it; None where nobody measured it."""
    if report.seconds is None:
        return None
    words = f"Exported in {report.seconds / 60:.1f} minutes"
    if report.peak_mib is not None:
        most = max(report.parts, key=lambda part: report.parts[part].peak_mib or 0.0)
        words += f"; peak memory {report.peak_mib / 1024:.1f} GiB, with the part {most}"
    return words + "."


def _table(title: str, left: int, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    return table


def _parts(report: Report) -> Any:
    table = _table("parts", 2, "part", "variant", "KiB", "ms", "max rel. error", "cosine", "preferred")
    for part, each in report.parts.items():
        for index, (precision, variant) in enumerate(each.variants.items()):
            table.add_row(
                part if index == 0 else "", precision, *_figures(variant), "*" if each.preferred == precision else ""
            )
    return table


def _figures(variant: VariantReport) -> tuple[str, ...]:
    time = "" if variant.milliseconds is None else f"{variant.milliseconds:.3f}"
    error = max(each.max_relative_error for each in variant.outputs.values())
    cosine = min(each.cosine for each in variant.outputs.values())
    return f"{variant.bytes / 1024:.0f}", time, f"{error:.1e}", f"{cosine:.6f}"


def _fused(report: Report, default: str) -> list[Any]:
    """A table per head, the variants of the default kind side by side; of the first head also the other kinds."""
    assert report.fused is not None
    accuracy = report.fused.accuracy
    heads = list(next(iter(accuracy[default]["fp32"].values())))
    variants = [(default, precision) for precision in accuracy[default]]
    kinds = [(kind, "fp32") for kind in accuracy]
    scenes = f"on {report.fused.samples} scenes"
    tables = [_accuracy(report, head, variants, f"{head}: accuracy {scenes} ({default})") for head in heads]
    if len(kinds) > 1:
        tables.insert(1, _accuracy(report, heads[0], kinds, f"{heads[0]}: accuracy {scenes}, every kind in FP32"))
    return tables


def _accuracy(report: Report, head: str, columns: list[tuple[str, str]], title: str) -> Any:
    """Rows are sets of present modalities; a column is a kind of fusion and a precision."""
    assert report.fused is not None
    accuracy = report.fused.accuracy
    several = len({kind for kind, _ in columns}) > 1
    table = _table(f"\n{title}", 1, "present", *(kind if several else precision for kind, precision in columns))
    for present in accuracy[columns[0][0]]["fp32"]:
        cells = [f"{accuracy[kind][precision][present][head]:.3f}" for kind, precision in columns]
        table.add_row(present, *cells)
    return table
