"""What uvicorn serves (`uvicorn metaextract.app:app`): the service, as the environment says."""

import os
import sys

from metaextract.api import create_app
from metaextract.settings import Settings, SettingsError

try:
    app = create_app(Settings.from_env(os.environ))
except SettingsError as error:
    sys.exit(f"metaextract: {error}")
