#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin: all of it happens on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_export
short_description: Export metrics of a time range into one aligned table, CSV or Parquet
description:
  - Asks Prometheus for queries over a time range and writes one table, in which every row is a point in time and every
    column a metric, with a picture of each metric and a manifest of what the columns hold beside it.
  - A range of any length is cut into pieces below Prometheus' limit of 11,000 points. Where an answer is too much at
    once, or takes too long, less is asked for.
  - A piece that is there is kept. An export that was interrupted, by a Prometheus that went away, a full disk or a
    kill, goes on from there when it is run again. The table, the pictures and the manifest are written whole or not
    at all.
  - Says how far it is, at least every five seconds where answers come.
  - A table that answers the same question, between times that do not move, is left as it is, and nothing is asked.
  - It works on the controller, whatever the host of its task - give C(run_once), or let the play have one host. It
    needs the Python libraries C(requests), C(pyarrow) and, for pictures, C(matplotlib) beside Ansible.
  - What a column holds, what a gap is, and what the profile asks for is described in C(docs/export.md).
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
requirements:
  - requests
  - pyarrow
  - matplotlib (where O(plots) is not V(none))
options:
  url:
    description:
      - The address of Prometheus, with the path of its proxy where it has one, as seen from the controller. Thanos,
        Mimir and VictoriaMetrics answer the same way.
      - E(HTTPS_PROXY), E(NO_PROXY) and C(~/.netrc) are honoured.
    type: str
    required: true
  path:
    description:
      - The table, on the controller. Its ending names the format - C(.csv), C(.csv.gz) or C(.parquet).
      - Its folder is made where there is none. The manifest lies beside it, with C(.json) added; the pictures, too,
        each with its metric's name.
      - What is done of an export that is not complete lies in a folder beside it, with a dot before its name and
        C(.parts) after it.
    type: path
    required: true
  start:
    description:
      - The first point in time. An ISO 8601 time with its zone, seconds since 1970, C(now), or C(now-3d).
      - Relative times are rounded down to a multiple of O(step).
    type: str
    required: true
  end:
    description: Nothing is asked for beyond it. Written like O(start).
    type: str
    default: now
  step:
    description: How far points are apart, C(15s), C(1m30s), or seconds as a number.
    type: str
    default: 15s
  queries:
    description:
      - PromQL by the name of the metric, which may have letters, digits and underscores. A name that ends in its unit
        gives the picture its axis - C(gpu_power_watts).
      - They are added to those of O(profile); one of the same name takes the place of the profile's, an empty one
        leaves it out.
    type: dict
    default: {}
  profile:
    description:
      - Queries that come ready. V(research) is CPU, RAM, GPU, GPU memory, power, pressure (PSI) and latency, one series
        each, from node-exporter, the DCGM exporter and services with a histogram C(inference_latency_seconds).
    type: str
    choices: [none, research]
    default: none
  profile_matchers:
    description: Label matchers that the profile's queries get, such as C(node="gpu-1").
    type: str
    default: ""
  profile_by:
    description: Labels that the profile's queries keep apart, such as C(node). The series of all have to carry them.
    type: list
    elements: str
    default: []
  profile_window:
    description: The window of rates in the profile's queries. At least four scrape intervals.
    type: str
    default: 1m
  form:
    description:
      - V(wide) has a column for every series, V(long) the columns C(timestamp), C(metric), C(labels) and C(value),
        with a row for every value that is there.
    type: str
    choices: [wide, long]
    default: wide
  codec:
    description: How Parquet is compressed inside. Of CSV the ending of O(path) decides.
    type: str
    choices: [zstd, gzip, snappy, none]
    default: zstd
  plots:
    description: The pictures, one a metric. With V(none), C(matplotlib) is not needed.
    type: str
    choices: [png, svg, none]
    default: png
  empty:
    description:
      - What becomes of a query that has no series in the whole range. V(fail) says why, V(keep) warns and leaves its
        column empty.
    type: str
    choices: [fail, keep]
    default: fail
  series_max:
    description: How many series one query may have. One with more is refused, with its mend.
    type: int
    default: 1000
  resume:
    description: Whether an export that was interrupted goes on from what is done. Otherwise it begins anew.
    type: bool
    default: true
  force:
    description: Whether to ask for everything again, whatever is there.
    type: bool
    default: false
  timeout_seconds:
    description: How long Prometheus may work on one answer. Where it takes longer, less is asked for at once.
    type: int
    default: 120
  patience_seconds:
    description: How long a Prometheus that is away, busy or restarting is asked again.
    type: int
    default: 60
  username:
    description: The user of basic authentication.
    type: str
    default: ""
  password:
    description: The password of O(username). It stands in no file and no message.
    type: str
    default: ""
  token:
    description: A bearer token, instead of O(username). It stands in no file and no message.
    type: str
    default: ""
  ca_path:
    description: The certificate of the authority that Prometheus' own is verified by. The default is the system's.
    type: path
  validate_certs:
    description: Whether certificates are verified.
    type: bool
    default: true
  client_cert:
    description: The certificate that the controller shows, in PEM form.
    type: path
  client_key:
    description: The key of O(client_cert), where it is not in the same file.
    type: path
extends_documentation_fragment: [gpunode.ready.attributes.writes]
"""

EXAMPLES = r"""
- name: Export what an experiment did
  gpunode.ready.prometheus_export:
    url: http://gpu-1.example.org:30090
    profile: research
    start: "2026-11-21T08:00:00Z"
    end: "2026-11-21T09:00:00Z"
    path: ./data/replicas-3.csv
  run_once: true

- name: Export power and temperature of every GPU over three days, and the research set of one node, without latency
  gpunode.ready.prometheus_export:
    url: https://prometheus.example.org
    token: "{{ lookup('ansible.builtin.file', '~/.prometheus-token') }}"
    profile: research
    profile_matchers: node="gpu-1"
    queries:
      power_watts: DCGM_FI_DEV_POWER_USAGE
      temp_celsius: DCGM_FI_DEV_GPU_TEMP
      latency_p50_seconds: ""
      latency_p95_seconds: ""
      latency_p99_seconds: ""
    start: now-3d
    form: long
    path: ./data/gpus.parquet
    plots: svg
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The table, on the controller.
  returned: success
  type: str
  sample: /home/ada/data/replicas-3.csv
manifest:
  description: The manifest. It holds the question, the range, RV(columns), and the table's SHA-256.
  returned: success
  type: str
  sample: /home/ada/data/replicas-3.csv.json
plots:
  description: The pictures.
  returned: success
  type: list
  elements: str
  sample: [/home/ada/data/replicas-3.gpu_util_percent.png]
rows:
  description: How many rows the table has. Not known in check mode.
  returned: success
  type: int
  sample: 241
range:
  description: The first and last point in time, how far they are apart, and how many there are.
  returned: success
  type: dict
  sample: {start: "2026-11-21T08:00:00Z", end: "2026-11-21T09:00:00Z", step_seconds: 15.0, points: 241}
columns:
  description:
    - Each series, with its labels, how many points it has and lacks, how many of them are NaN, when it was first and
      last there, and its least, mean and greatest finite value.
  returned: success
  type: list
  elements: dict
  sample:
    - name: gpu_util_percent
      metric: gpu_util_percent
      labels: {}
      points: 241
      missing: 0
      nan: 0
      first: "2026-11-21T08:00:00Z"
      last: "2026-11-21T09:00:00Z"
      min: 3.0
      max: 97.0
      mean: 61.4
requests:
  description: How often Prometheus was asked.
  returned: success
  type: int
  sample: 28
resumed_points:
  description: How many points an earlier, interrupted run had fetched already.
  returned: success
  type: int
  sample: 0
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 2.4
"""
