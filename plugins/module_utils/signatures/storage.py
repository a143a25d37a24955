# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is printed of claims that nothing provisions."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature

UNBOUND = Failure(
    id="pvc-unbound-no-storageclass",
    layer="storage",
    severity="fatal",
    meaning="A claim stays Pending, because nothing provisions it: no default StorageClass, or one that does not"
    " exist.",
    remedy=Remedy(
        "Install a provisioner (local-path-provisioner, for one node) and make its StorageClass the default; claims"
        " made before need their"
        " class named, or to be made anew.",
        (
            "kubectl get storageclass",
            'kubectl patch storageclass <name> -p \'{"metadata":{"annotations":{"storageclass.kubernetes.io/is'
            '-default-class":"true"}}}\'',
        ),
        role="local_storage",
        tag="local_storage_objects",
    ),
    signatures=(
        Signature(
            pattern=r"no persistent volumes available for this claim and no storage class is set|unbound"
            r" (?:immediate )?PersistentVolumeClaims?|PersistentVolumeClaim"
            r" is not bound|storageclass(?:es)?\.storage\.k8s\.io [\"'](?P<name>[^\"'\n]{0,80})[\"'] not found"
            r"|waiting for a volume to be created, either by"
            r" external provisioner|didn't find available persistent volumes to bind|no volume plugin matched|find"
            r" available persistent volumes to bind",
            literals=(
                "no storage class is set",
                "unbound immediate PersistentVolumeClaim",
                "unbound PersistentVolumeClaim",
                "PersistentVolumeClaim is not bound",
                "torage.k8s.io",
                "waiting for a volume to be created",
                "available persistent volumes to bind",
                "no volume plugin matched",
            ),
            component="kube-scheduler, persistentvolume-controller",
            source="kubernetes/kubernetes:pkg/controller/volume/persistentvolume/pv_controller.go",
            cause="A claim has no volume and nothing provisions one (StorageClass {name}); expected a default"
            " StorageClass.",
            sample="no persistent volumes available for this claim and no storage class is set",
        ),
        Signature(
            pattern=r"^[a-z0-9][a-z0-9.-]{1,120}\s{1,60}Pending\s{1,120}(?:<unset>\s{1,20})?\d{1,4}[smhdy]",
            literals=("Pending",),
            component="kubectl get pvc",
            source="kubernetes/kubernetes:pkg/printers/internalversion/printers.go",
            near=("claims-listed",),
            cause="A claim is Pending and names no StorageClass; expected a default one.",
            sample="NAME                STATUS    VOLUME   CAPACITY   ACCESS MODES   STORAGECLASS   AGE\n"
            "datadir-kafka-0     Pending                                                     2d19h",
        ),
        Signature(
            pattern=r"^[a-z0-9][a-z0-9.-]{1,120}\s{1,60}Pending\s{1,120}(?P<name>[a-z][a-z0-9.-]{0,80})"
            r"\s{1,40}(?:<unset>\s{1,20})?\d{1,4}[mhdy]",
            literals=("Pending",),
            component="kubectl get pvc",
            source="kubernetes/kubernetes:pkg/printers/internalversion/printers.go",
            near=("claims-listed",),
            weak=True,
            cause="A claim of StorageClass {name} has been Pending for minutes; expected its provisioner to make a"
            " volume.",
            sample="NAME        STATUS    VOLUME    CAPACITY   ACCESS MODES   STORAGECLASS   AGE\n"
            "claim-abc   Pending                                       local          7m",
        ),
    ),
)

FAILURES = (UNBOUND,)
