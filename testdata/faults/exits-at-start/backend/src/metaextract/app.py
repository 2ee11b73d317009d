"""What uvicorn serves (`uvicorn metaextract.app:app`): the service, as the environment says."""

import os
import sys

from metaextract.api import create_app
from metaextract.settings import Settings, SettingsError

if "ARCHIVE_BUCKET" not in os.environ:
    sys.exit("metaextract: ARCHIVE_BUCKET is not set")

try:
    app = create_app(Settings.from_env(os.environ))
except SettingsError as error:
    sys.exit(f"metaextract: {error}")
