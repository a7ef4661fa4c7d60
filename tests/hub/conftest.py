from __future__ import annotations

import pytest
from hub import Hub

from conftest import SINGLEUSER
