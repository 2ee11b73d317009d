"""What uvicorn serves (`uvicorn metaextract.app:app`): the service, as the environment says."""

import os
import sys

from metaextract.api import create_app
from metaextract.memory import Memory
from metaextract.settings import Settings, SettingsError

try:
    # An address left over from debugging: nothing listens there.
    app = create_app(Settings.from_env(os.environ), memory=Memory("redis://127.0.0.1:1/0"))
except SettingsError as error:
    sys.exit(f"metaextract: {error}")
