"""Four plugins in one package, one per file."""

from harness import hookimpl


@hookimpl
def harness_plugin_modules():
    return [f"harness_outside.{name}" for name in ("attack", "defense", "task", "victim")]
