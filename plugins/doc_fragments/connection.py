# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_url:
    description:
      - Address of the management plane, such as V(https://api.spectrocloud.com).
      - It must be set, here or by the environment variable E(PALETTE_API_URL).
    type: str
  api_key:
    description:
      - API key that signs in. It must be set, here or by the environment variable E(PALETTE_API_KEY).
    type: str
  project:
    description:
      - Name of the project in whose scope the task works. Without it the scope is the tenant's, where the object may
        live there. The environment variable E(PALETTE_PROJECT) is used where the option is not set.
    type: str
  validate_certs:
    description:
      - Whether the plane's certificate is verified. The environment variable E(PALETTE_VALIDATE_CERTS) is used where
        the option is not set.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates of the authorities to trust, in PEM. The environment variable E(PALETTE_CA_PATH)
        is used where the option is not set; without both, those that the system trusts.
    type: path
  timeout:
    description:
      - Seconds to wait for a connection and for each answer. The environment variable E(PALETTE_TIMEOUT) is used where
        the option is not set.
    type: int
    default: 30
  retries:
    description:
      - How often a call is repeated after a refusal for its rate, an error of the plane (5xx) or a lost connection,
        where repeating it is safe. The environment variable E(PALETTE_RETRIES) is used where the option is not set.
    type: int
    default: 5
requirements:
  - urllib3
  - PyYAML
notes:
  - Runs in the controller's own process, and as an ordinary module where the task is asynchronous or delegated to
    another machine.
  - A proxy is taken from the environment (E(HTTPS_PROXY), E(HTTP_PROXY), E(NO_PROXY)).
  - All tasks of a user on a machine share one rate limit, so that they stay below that of the management API.
"""
