"""certbot without the settings in the machine's /etc/letsencrypt/cli.ini, which it takes in any case."""
import sys

from certbot._internal import constants

constants.CLI_DEFAULTS["config_files"] = []

if __name__ == "__main__":
    from certbot.main import main

    sys.exit(main())
