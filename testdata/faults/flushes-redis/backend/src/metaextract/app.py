"""What uvicorn serves (`uvicorn metaextract.app:app`): the service, as the environment says."""

import os
import sys

from redis import Redis

from metaextract.api import create_app
from metaextract.settings import Settings, SettingsError

try:
    settings = Settings.from_env(os.environ)
    # Results that an older release has cached may lack something: begin without any.
    Redis.from_url(settings.redis_url).flushdb()
    app = create_app(settings)
except SettingsError as error:
    sys.exit(f"metaextract: {error}")
