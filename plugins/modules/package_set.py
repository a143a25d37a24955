#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring repository, key, packages and holds of one purpose to what is wanted, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: package_set
short_description: Have a set of packages, from a repository that is verified, whole and held
description:
  - Does in one call what a role needs of a package manager - the repository in a file of its own with its own key,
    packages at a version or branch, holds, and packages that must not be there.
  - The key is downloaded with bounded retries and judged before anything is written. A key with another fingerprint, or
    one that is expired, revoked or certified with SHA-1 only, stops the run, and nothing is installed.
  - A package whose state says installed but whose O(packages[].binaries) are gone is installed again.
  - A held package is never changed and no package is downgraded unless O(allow_change) says so. A run that would remove
    a package that O(absent) does not name stops before it does.
  - Waits for another package manager up to O(lock_timeout_seconds), then names the process that holds the lock. What
    another installation left half-done is named with the command that finishes it, and not touched; what a run of this
    module left half-done (a power cut, a killed controller) is finished by the next.
  - When nothing is to be done, reads files only and starts no package manager (on RPM systems, one C(rpm) query).
  - Nothing ever asks a question. Configuration files that were changed by hand are kept. Services are not restarted by
    needrestart.
  - What the package manager says goes to C(/var/log/gpunode.ready/packages.log) while it works.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  name:
    description:
      - What the packages are for. Used in messages, as the name of the repository where it has one, and to know what
        O(state=absent) takes back.
    type: str
    required: true
  state:
    description:
      - V(absent) takes back what V(present) did under this O(name) - packages that it brought, with their
        configuration; its repository, key and pins; its holds. Packages that were there before stay, at the version
        they have now. So does what packages of others need by now, and what somebody has asked for by name since, as
        far as the package manager knows (after a power cut, dnf takes what it was at for asked for). Each is told.
      - What belongs to this module it knows by a list that it wrote before it acted, in
        C(/var/lib/gpunode.ready/owned). What is not on it stays. Other options but O(keeps), O(discards) and
        O(repository), whose file is removed where it has our header, do not matter then.
    type: str
    choices: [present, absent]
    default: present
  keeps:
    description:
      - Folders of data that O(state=absent) keeps from the packages' own scripts, some of which delete data when they
        are purged. They are renamed meanwhile; of one that is a link to elsewhere, the link is.
    type: list
    elements: path
    default: []
  discards:
    description:
      - Folders of data that O(state=absent) deletes once the packages are gone, each only where this module brought one
        of the packages that fill it, and nothing else on the node uses it. Once it is done, it knows that no more.
      - Nothing is deleted under a program that runs, nor through a mount or a link. The run then stops and says what to
        do, and the next one completes it.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The folder.
        type: path
        required: true
      packages:
        description: The packages that fill it, by name or pattern.
        type: list
        elements: str
        required: true
      programs:
        description: The programs that use it, by name. Where one is still there, or runs, somebody else needs the data.
        type: list
        elements: str
        required: true
  repository:
    description:
      - The repository that serves the packages. Without it they come from the distribution's own.
      - On Debian and its kin it is written to C(/etc/apt/sources.list.d/NAME.sources) and its key to
        C(/etc/apt/keyrings/NAME.asc); on Red Hat and its kin to C(/etc/yum.repos.d/NAME.repo) and
        C(/etc/pki/rpm-gpg/RPM-GPG-KEY-NAME). Both files are owned as a whole. Arch has no repositories of this kind.
    type: dict
    suboptions:
      name:
        description: The name of its files, and its id on Red Hat and its kin.
        type: str
        required: true
      url:
        description: Where it lies.
        type: str
        required: true
      suites:
        description: The suites (apt only). V(/) is that of a flat repository.
        type: list
        elements: str
        default: [/]
      components:
        description: The components (apt only). A flat repository has none.
        type: list
        elements: str
        default: []
      architectures:
        description: Only these architectures (apt only), by Debian's names. The default is all of the node's.
        type: list
        elements: str
        default: []
      key_url:
        description: Where its signing key lies, armoured or binary. C(file://) works too.
        type: str
        required: true
      key_fingerprints:
        description:
          - The full fingerprints of keys to trust, with or without spaces. Only these keys of the downloaded file are
            written. Empty means not checked, which is said in a warning.
        type: list
        elements: str
        default: []
      key_sha1_fingerprints:
        description:
          - Keys that may be certified with SHA-1 only, because their fingerprint is known. NVIDIA's key for Debian 12
            and Ubuntu is such a one. An apt that verifies with sqv (Debian 13, Ubuntu 25.10 and later) refuses them
            anyway.
        type: list
        elements: str
        default: []
      url_variable:
        description: The variable by which the user sets O(repository.url). Named in messages when a download fails.
        type: str
        default: ''
      replaces:
        description:
          - Files of others that name the same repository (such as those of vendors' own instructions). Where they are
            there, they are renamed to end in C(.disabled), because apt reads no repository at all while two files give
            different keys for one.
        type: list
        elements: path
        default: []
  packages:
    description: The packages to have.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The package.
        type: str
        required: true
      version:
        description:
          - The version to have, exact (V(1.36.3-1.1)) or as a pattern (V(1.36.*)). Epoch and revision may be left out.
            The newest that matches is installed; an installed one that matches stays.
          - Empty means that any version does.
        type: str
        default: ''
      binaries:
        description: Files of the package that must be there and executable. Where one is gone, it is installed again.
        type: list
        elements: path
        default: []
      first:
        description: Install it before the others, because it tells the package manager which versions they get.
        type: bool
        default: false
  held:
    description:
      - Whether the packages are held at their version. When omitted, holds are left as they are.
      - With apt by C(apt-mark). On Red Hat and its kin by C(excludepkgs) in the repository's own file, because the
        versionlock plugin is not installed there by default; packages of the distribution's own repositories need it.
        On Arch by C(IgnorePkg) in a file of its own that C(/etc/pacman.conf) includes.
    type: bool
  hold_also:
    description: Patterns of other installed packages that are held, or released, with these, such as V(libnvidia-*).
    type: list
    elements: str
    default: []
  absent:
    description: Packages that must not be there. Only these are ever removed, and their configuration stays.
    type: list
    elements: str
    default: []
  streams:
    description: Module streams to enable (dnf only), such as V(nvidia-driver:580-open).
    type: list
    elements: str
    default: []
  pins:
    description:
      - Versions that are preferred over newer ones (apt only), also for what the packages depend on. Written to
        C(/etc/apt/preferences.d/NAME.pref), which is owned as a whole.
      - Needed where packages depend on exactly their own version, because apt only ever considers one version of each.
    type: list
    elements: dict
    default: []
    suboptions:
      packages:
        description: The packages, by name or pattern.
        type: list
        elements: str
        required: true
      version:
        description: The version, exact or a pattern.
        type: str
        required: true
  allow_change:
    description: Allow this run to change packages that are held, and to downgrade.
    type: bool
    default: false
  recommends:
    description: Install what the packages recommend, too.
    type: bool
    default: false
  lock_timeout_seconds:
    description: How long to wait for another package manager.
    type: int
    default: 300
  download_timeout_seconds:
    description: How long a server may stay silent before a download is tried again, and at last given up.
    type: int
    default: 30
  timeout_seconds:
    description:
      - How long the package manager may take. A download is then stopped; an installation is not, because that would
        leave packages half-done. The message says where to watch it.
    type: int
    default: 3600
extends_documentation_fragment: [gpunode.ready.attributes.writes]
seealso:
  - module: gpunode.ready.node_info
"""

EXAMPLES = r"""
- name: CRI-O from its own repository, held at its minor
  gpunode.ready.package_set:
    name: CRI-O
    repository:
      name: cri-o
      url: https://download.opensuse.org/repositories/isv:/cri-o:/stable:/v1.36/deb/
      key_url: https://download.opensuse.org/repositories/isv:/cri-o:/stable:/v1.36/deb/Release.key
      url_variable: crio_repository_url
    packages:
      - name: cri-o
        version: 1.36.*
        binaries: [/usr/bin/crio]
      - name: cri-tools
        binaries: [/usr/bin/crictl]
    held: true

- name: containerd from the distribution, and no Docker
  gpunode.ready.package_set:
    name: containerd
    packages:
      - name: containerd
        binaries: [/usr/bin/containerd]
      - name: runc
    held: true
    absent: [docker.io]

- name: Take away what the first example brought, and no image or container
  gpunode.ready.package_set:
    name: CRI-O
    state: absent
    keeps: [/var/lib/containers]

- name: Go to another version once, although it is held
  gpunode.ready.package_set:
    name: Kubernetes
    packages:
      - {name: kubelet, version: 1.36.4-1.1}
      - {name: kubeadm, version: 1.36.4-1.1}
    held: true
    allow_change: true
"""

RETURN = r"""
installed:
  description: Packages that came or changed, with what they needed, and their versions. In check mode those asked for.
  returned: always
  type: dict
  sample: {cri-o: 1.36.3-1.1, cri-tools: 1.36.0-1.1}
reinstalled:
  description: Packages that were installed again because a file of theirs was gone.
  returned: always
  type: list
  elements: str
  sample: [cri-o]
removed:
  description: Packages that were removed.
  returned: always
  type: list
  elements: str
  sample: [docker.io]
held:
  description: Packages that are held now and were not before.
  returned: always
  type: list
  elements: str
  sample: [cri-o, cri-tools]
released:
  description: Packages that are held no longer.
  returned: always
  type: list
  elements: str
  sample: []
files:
  description: Files that were written or renamed.
  returned: always
  type: list
  elements: str
  sample: [/etc/apt/keyrings/cri-o.asc, /etc/apt/sources.list.d/cri-o.sources]
stays:
  description: Those of O(packages) that O(state=absent) leaves, because they were there before, or are needed.
  returned: always
  type: list
  elements: str
  sample: [containerd]
discarded:
  description: Those of O(discards) that were deleted.
  returned: always
  type: list
  elements: str
  sample: [/var/lib/containers/storage]
reboot_hint:
  description: Why the system itself asks for a reboot. Empty where it does not.
  returned: always
  type: str
  sample: linux-image-6.1.0-40-amd64 asks for a reboot (/run/reboot-required)
log:
  description: Where the package manager's own words are.
  returned: always
  type: str
  sample: /var/log/gpunode.ready/packages.log
"""

import email.utils
import ssl
import time
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.gpunode.ready.plugins.module_utils.facts.packaging import manager_of
from ansible_collections.gpunode.ready.plugins.module_utils.files import WriteError
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.openpgp import plain
from ansible_collections.gpunode.ready.plugins.module_utils.package_data import Data
from ansible_collections.gpunode.ready.plugins.module_utils.package_failures import Context
from ansible_collections.gpunode.ready.plugins.module_utils.package_managers import LOG, PackageError, Request
from ansible_collections.gpunode.ready.plugins.module_utils.package_set import check, converge, manager_for
from ansible_collections.gpunode.ready.plugins.module_utils.package_withdrawal import withdraw
from ansible_collections.gpunode.ready.plugins.module_utils.packages import Pin, Repository, Wanted
from ansible_collections.gpunode.ready.plugins.module_utils.secrecy import hide, passwords

ATTEMPTS = 3
KEY_LIMIT = 1 << 20
# Not there, or not for us: asking again changes nothing.
FINAL = (400, 401, 403, 404, 405, 410, 451)
# OpenSSL's names for a certificate that this clock finds not yet, or no longer, valid.
CLOCK_ERRORS = (9, 10)


class Downloader:
    """Fetches a key: a few attempts, a bound on silence, a bound on the whole, a bound on the size."""

    def __init__(self, name: str, variable: str, timeout_seconds: float) -> None:
        self.name = name
        self.variable = variable
        self.timeout_seconds = timeout_seconds

    def __call__(self, url: str) -> bytes:
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(attempt)
            try:
                return self._read(url)
            except HTTPError as error:
                reason = f"HTTP {error.code} {error.reason}"
                if error.code in FINAL:
                    break
            except (URLError, OSError, HTTPException, ValueError) as error:
                cause = getattr(error, "reason", error)
                if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in CLOCK_ERRORS:
                    raise PackageError(self._clock(url, cause.verify_message)) from None
                reason = str(cause) or type(cause).__name__
        context = Context(self.name, url, self.variable)
        raise PackageError(
            f"{self.name}: the signing key cannot be downloaded from {url}: {reason}. Nothing was changed; "
            f"{context.elsewhere}."
        )

    def _read(self, url: str) -> bytes:
        deadline = time.monotonic() + 2 * self.timeout_seconds
        answer = open_url(url, timeout=self.timeout_seconds, http_agent="gpunode.ready", follow_redirects="safe")
        data = b""
        while True:
            chunk = answer.read1(65536) if hasattr(answer, "read1") else answer.read(65536)
            if not chunk:
                break
            data += chunk
            if len(data) > KEY_LIMIT:
                raise ValueError("it is larger than any key (1 MiB)")
            if time.monotonic() > deadline:
                raise OSError(f"it was not complete within {2 * self.timeout_seconds:g} s")
        length = answer.headers.get("Content-Length") if getattr(answer, "headers", None) else None
        if length and length.isdigit() and len(data) < int(length):
            raise OSError(f"the answer was cut short: {len(data)} of {length} bytes")
        return data

    def _clock(self, url: str, words: str) -> str:
        skew = self._skew(url)
        now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        if skew is not None and abs(skew) < 3600:
            return (
                f"{self.name}: the certificate of {url} is not valid ({words}), although this node's clock is right. "
                f"Nothing was changed; {Context(self.name, url, self.variable).elsewhere}."
            )
        off = (
            "" if skew is None else f", {abs(skew) / 3600:.1f} hours {'ahead of' if skew > 0 else 'behind'} the server"
        )
        return (
            f"{self.name}: this node's clock says {now}{off}, so the certificate of {url} seems not valid ({words}). "
            "The clock is wrong, not TLS. Set it: timedatectl set-ntp true (or chronyc makestep), then run again. "
            "Nothing was changed."
        )

    def _skew(self, url: str) -> float | None:
        """By how much this clock is ahead of the server's. Unverified, so nothing but the date is believed."""
        try:
            answer = open_url(url, method="HEAD", timeout=10, validate_certs=False, http_agent="gpunode.ready")
            return time.time() - email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except Exception:  # a hint only: whatever fails here, there is none
            return None


def request_of(params: dict) -> Request:
    given = params["repository"]
    repository = None
    if given is not None:
        repository = Repository(
            name=given["name"],
            url=given["url"],
            key_url=given["key_url"],
            suites=tuple(given["suites"]),
            components=tuple(given["components"]),
            architectures=tuple(given["architectures"]),
            key_fingerprints=tuple(plain(fingerprint) for fingerprint in given["key_fingerprints"]),
            sha1_fingerprints=tuple(plain(fingerprint) for fingerprint in given["key_sha1_fingerprints"]),
            url_variable=given["url_variable"],
            replaces=tuple(given["replaces"]),
        )
    return Request(
        name=params["name"],
        wanted=tuple(
            Wanted(item["name"], item["version"], tuple(item["binaries"]), item["first"]) for item in params["packages"]
        ),
        repository=repository,
        held=params["held"],
        hold_also=tuple(params["hold_also"]),
        absent=tuple(params["absent"]),
        streams=tuple(params["streams"]),
        pins=tuple(Pin(tuple(pin["packages"]), pin["version"]) for pin in params["pins"]),
        allow_change=params["allow_change"],
        recommends=params["recommends"],
        lock_timeout_seconds=params["lock_timeout_seconds"],
        download_timeout_seconds=params["download_timeout_seconds"],
        timeout_seconds=params["timeout_seconds"],
    )


def arguments() -> dict:
    strings = {"type": "list", "elements": "str", "default": []}
    paths = {"type": "list", "elements": "path", "default": []}
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "keeps": paths,
        "discards": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "path": {"type": "path", "required": True},
                "packages": {"type": "list", "elements": "str", "required": True},
                "programs": {"type": "list", "elements": "str", "required": True},
            },
        },
        "repository": {
            "type": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "url": {"type": "str", "required": True},
                "suites": {"type": "list", "elements": "str", "default": ["/"]},
                "components": strings,
                "architectures": strings,
                "key_url": {"type": "str", "required": True, "no_log": False},
                "key_fingerprints": {**strings, "no_log": False},
                "key_sha1_fingerprints": {**strings, "no_log": False},
                "url_variable": {"type": "str", "default": ""},
                "replaces": paths,
            },
        },
        "packages": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "name": {"type": "str", "required": True},
                "version": {"type": "str", "default": ""},
                "binaries": paths,
                "first": {"type": "bool", "default": False},
            },
        },
        "held": {"type": "bool"},
        "hold_also": strings,
        "absent": strings,
        "streams": strings,
        "pins": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "packages": {"type": "list", "elements": "str", "required": True},
                "version": {"type": "str", "required": True},
            },
        },
        "allow_change": {"type": "bool", "default": False},
        "recommends": {"type": "bool", "default": False},
        "lock_timeout_seconds": {"type": "int", "default": 300},
        "download_timeout_seconds": {"type": "int", "default": 30},
        "timeout_seconds": {"type": "int", "default": 3600},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    request = request_of(module.params)
    variable = request.repository.url_variable if request.repository else ""
    addresses = (request.repository.url, request.repository.key_url) if request.repository else ()
    module.no_log_values.update(password for address in addresses for password in passwords(address))
    host = Host()
    try:
        check(request)
        manager = manager_for(host, manager_of(host), request)
        if module.params["state"] == "absent":
            discards = [Data(**item) for item in module.params["discards"]]
            outcome = withdraw(manager, module.params["keeps"], discards, check_mode=module.check_mode)
        else:
            fetch = Downloader(request.name, variable, request.download_timeout_seconds)
            outcome = converge(manager, fetch, check_mode=module.check_mode)
    except (PackageError, WriteError) as error:
        module.fail_json(msg=hide(str(error)), log=LOG)

    for warning in outcome.warnings:
        module.warn(hide(warning))
    module.exit_json(
        changed=outcome.changed,
        installed=outcome.installed,
        reinstalled=outcome.reinstalled,
        removed=outcome.removed,
        held=outcome.held,
        released=outcome.released,
        files=outcome.files,
        reboot_hint=outcome.reboot_hint,
        stays=outcome.stays,
        discarded=outcome.discarded,
        log=LOG,
        diff=outcome.diff,
    )


if __name__ == "__main__":
    main()
