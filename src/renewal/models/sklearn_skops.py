"""skops, imported without torch.

When skops is imported it lists every estimator of scikit-learn. That walk imports every folder
of scikit-learn, among them the one that makes tensors of torch look like arrays, and with it
torch, wherever that is installed: 175 MB and two seconds in every worker and every server, for
estimators that never see a tensor. While skops is imported, that one folder is said to be
missing, which the walk passes over; it holds no estimator. Afterwards it can be imported again.
"""

from __future__ import annotations

import sys

_PASSED_OVER = "sklearn.externals.array_api_compat.torch"

_is_absent = _PASSED_OVER not in sys.modules
if _is_absent:
    sys.modules[_PASSED_OVER] = None  # type: ignore[assignment]  # Python's own mark of a missing module
try:
    from skops.io import dumps, get_untrusted_types, loads
    from skops.io.exceptions import UntrustedTypesFoundException
finally:
    if _is_absent:
        del sys.modules[_PASSED_OVER]

__all__ = ["UntrustedTypesFoundException", "dumps", "get_untrusted_types", "loads"]
