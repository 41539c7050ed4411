"""The report: what was fitted, whether to believe it, what it predicts, in one HTML file."""

from bayescg.report.write import write_report

__all__ = ["write_report"]
