# SPDX-License-Identifier: GPL-3.0-or-later
"""The management API's description as the plane uses it: operations, and models that check bodies and answers.

Everything comes from the data file ``palette-api.json`` (see ``tools/reduce_contract.py``). Documents are plain
dictionaries in the vendor's own field names; a model is a ``TypedDict`` made from a definition, checked by pydantic.
Models are made when an operation is first used, so that starting the plane costs nothing for those that are not.
"""

from __future__ import annotations

from paletteops_plane.contract.description import CONTRACT, Contract, Operation, Parameter
from paletteops_plane.contract.models import Model, without_nulls
from paletteops_plane.contract.served import SERVED

__all__ = ["CONTRACT", "SERVED", "Contract", "Model", "Operation", "Parameter", "without_nulls"]
