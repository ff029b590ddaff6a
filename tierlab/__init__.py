"""tierlab: decide between flagship, mid-tier and small models with numbers you can defend.

Three tables and functions between them: prices, requests, outcomes. Names are loaded when first used,
so that ``import tierlab`` stays fast and pulls in no plotting, widget or provider code.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
