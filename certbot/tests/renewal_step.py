"""One step in the life of a renewal file, done by certbot's own code; prints what the plugin sees.

Arguments: the PEM file with certificate and key, then certbot's arguments. With the verb certonly
a lineage is made and its renewal file written; with renew the file is read, a successor is stored,
and the file written anew, as `certbot renew --force-renewal` does.
"""
import json
import pathlib
import sys

import unconfigured  # noqa: F401
from certbot import configuration
from certbot._internal import cli, renewal, storage
from certbot._internal.plugins import disco


def main(pem_file: str, verb: str, *arguments: str) -> None:
    pem = pathlib.Path(pem_file).read_bytes()
    config = cli.prepare_and_parse_args(disco.PluginsRegistry.find_all(), [verb, *arguments])
    if not isinstance(config, configuration.NamespaceConfig):
        config = configuration.NamespaceConfig(config)
    if verb == "certonly":
        storage.RenewableCert.new_lineage("a.example", pem, pem, pem, config)
    else:
        reconstitute = getattr(renewal, "reconstitute", None) or renewal._reconstitute
        lineage = reconstitute(config, f"{config.renewal_configs_dir}/a.example.conf")
        assert lineage is not None, "certbot could not read the renewal file"
        lineage.save_successor(lineage.latest_common_version(), pem, pem, pem, config)
    print(json.dumps([config.acme_alpn_check, config.acme_alpn_spool]))


main(*sys.argv[1:])
