"""The result of a job: written, resumed, opened, drawn."""
