"""For authors of plugins: checks of what each kind of plugin promises, and toy models to try a plugin on.

``harness check NAME`` runs the checks on an installed plugin. In pytest a test is marked with the class, and becomes
one test per check::

    @conforms(MyAttack, {"tries": 4})
    def test_my_attack(conformance):
        conformance()

Nothing here imports torch before a check trains or opens a model.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
