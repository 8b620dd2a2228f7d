# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of the management API that the plane serves, in one table.

``tools/reduce_contract.py`` takes from the vendor's description what these operations need; the application binds
a handler to each of them; everything else answers 501.

The vendor's description says nothing about scope. Here each operation stands under one:

* ``public``: no credentials are needed
* ``tenant``: refused when the header ``ProjectUid`` is sent
* ``project``: refused when it is not sent
* ``any``: either; without the header, the answer covers the tenant's own objects (and, for reads of clusters,
  those of all projects)
"""

from __future__ import annotations

_OPERATIONS = {
    "public": """
        GET /v1/health/ping
        GET /v1/health/ready
        POST /v1/auth/authenticate
        GET /v1/auth/refresh/{token}
        GET /v1/auth/org
        GET /v1/auth/orgs
        POST /v1/edgehosts/register
    """,
    "tenant": """
        POST /v1/projects
        GET /v1/projects/{uid}
        PUT /v1/projects/{uid}
        DELETE /v1/projects/{uid}
        PUT /v1/projects/{uid}/meta
        DELETE /v1/projects/{uid}/validate
        POST /v1/dashboard/projects
        GET /v1/apiKeys
        POST /v1/apiKeys
        GET /v1/apiKeys/{uid}
        PUT /v1/apiKeys/{uid}
        PATCH /v1/apiKeys/{uid}
        PUT /v1/apiKeys/{uid}/state
        DELETE /v1/apiKeys/{uid}

        GET /v1/edgehosts/tokens
        POST /v1/edgehosts/tokens
        GET /v1/edgehosts/tokens/{uid}
        PUT /v1/edgehosts/tokens/{uid}
        DELETE /v1/edgehosts/tokens/{uid}
        PUT /v1/edgehosts/tokens/{uid}/state
    """,
    "project": """
        POST /v1/spectroclusters/aws
        POST /v1/spectroclusters/edge-native
        POST /v1/spectroclusters/vsphere
        POST /v1/edgehosts
    """,
    "any": """
        GET /v1/users/info
        GET /v1/dashboard/projects/metadata

        GET /v1/cloudaccounts/summary
        GET /v1/cloudaccounts/aws
        POST /v1/cloudaccounts/aws
        GET /v1/cloudaccounts/aws/{uid}
        PUT /v1/cloudaccounts/aws/{uid}
        DELETE /v1/cloudaccounts/aws/{uid}
        GET /v1/cloudaccounts/vsphere
        POST /v1/cloudaccounts/vsphere
        GET /v1/cloudaccounts/vsphere/{uid}
        PUT /v1/cloudaccounts/vsphere/{uid}
        DELETE /v1/cloudaccounts/vsphere/{uid}
        GET /v1/dashboard/cloudaccounts/metadata
        POST /v1/clouds/aws/account/validate
        POST /v1/clouds/vsphere/account/validate

        GET /v1/overlords
        GET /v1/overlords/{uid}
        POST /v1/overlords/vsphere/{uid}/account/validate
        POST /v1/dashboard/pcgs/search
        GET /v1/dashboard/pcgs/search/schema

        GET /v1/registries/metadata
        GET /v1/registries/pack
        GET /v1/registries/pack/summary
        GET /v1/registries/pack/{uid}
        POST /v1/registries/pack/{uid}/sync
        GET /v1/registries/pack/{uid}/sync/status
        GET /v1/registries/helm
        GET /v1/registries/helm/summary
        POST /v1/registries/helm
        POST /v1/registries/helm/validate
        GET /v1/registries/helm/{uid}
        PUT /v1/registries/helm/{uid}
        DELETE /v1/registries/helm/{uid}
        POST /v1/registries/helm/{uid}/sync
        GET /v1/registries/helm/{uid}/sync/status
        GET /v1/registries/oci/summary
        GET /v1/registries/oci/{uid}
        POST /v1/registries/oci/basic
        POST /v1/registries/oci/basic/validate
        GET /v1/registries/oci/{uid}/basic
        PUT /v1/registries/oci/{uid}/basic
        DELETE /v1/registries/oci/{uid}/basic
        POST /v1/registries/oci/{uid}/basic/sync
        GET /v1/registries/oci/{uid}/basic/sync/status

        GET /v1/packs
        POST /v1/packs/search
        GET /v1/packs/{uid}
        GET /v1/packs/{packName}/registries/{registryUid}

        POST /v1/clusterprofiles
        DELETE /v1/clusterprofiles/bulk
        GET /v1/clusterprofiles/validate/name
        POST /v1/clusterprofiles/validate/packs
        GET /v1/clusterprofiles/{uid}
        PUT /v1/clusterprofiles/{uid}
        DELETE /v1/clusterprofiles/{uid}
        POST /v1/clusterprofiles/{uid}/clone
        POST /v1/clusterprofiles/{uid}/clone/validate
        GET /v1/clusterprofiles/{uid}/export
        GET /v1/clusterprofiles/{uid}/spc/download
        PATCH /v1/clusterprofiles/{uid}/metadata
        PATCH /v1/clusterprofiles/{uid}/publish
        POST /v1/clusterprofiles/{uid}/validate/packs
        GET /v1/clusterprofiles/{uid}/variables
        PUT /v1/clusterprofiles/{uid}/variables
        PATCH /v1/clusterprofiles/{uid}/variables
        DELETE /v1/clusterprofiles/{uid}/variables
        GET /v1/clusterprofiles/{uid}/packs
        POST /v1/clusterprofiles/{uid}/packs
        GET /v1/clusterprofiles/{uid}/packs/manifests
        GET /v1/clusterprofiles/{uid}/packs/{packName}
        PUT /v1/clusterprofiles/{uid}/packs/{packName}
        DELETE /v1/clusterprofiles/{uid}/packs/{packName}
        GET /v1/clusterprofiles/{uid}/packs/{packName}/config
        GET /v1/clusterprofiles/{uid}/packs/{packName}/manifests
        POST /v1/clusterprofiles/{uid}/packs/{packName}/manifests
        GET /v1/clusterprofiles/{uid}/packs/{packName}/manifests/{manifestUid}
        PUT /v1/clusterprofiles/{uid}/packs/{packName}/manifests/{manifestUid}
        DELETE /v1/clusterprofiles/{uid}/packs/{packName}/manifests/{manifestUid}
        POST /v1/dashboard/clusterprofiles
        GET /v1/dashboard/clusterprofiles/metadata
        GET /v1/dashboard/clusterprofiles/{uid}

        POST /v1/spectroclusters/aws/validate
        POST /v1/spectroclusters/edge-native/validate
        POST /v1/spectroclusters/vsphere/validate
        GET /v1/spectroclusters/validate/name
        POST /v1/spectroclusters/spc/download
        GET /v1/spectroclusters/{uid}
        DELETE /v1/spectroclusters/{uid}
        GET /v1/spectroclusters/{uid}/status
        PATCH /v1/spectroclusters/{uid}/metadata
        GET /v1/spectroclusters/{uid}/profiles
        PUT /v1/spectroclusters/{uid}/profiles
        PATCH /v1/spectroclusters/{uid}/profiles
        DELETE /v1/spectroclusters/{uid}/profiles
        GET /v1/spectroclusters/{uid}/profiles/packs/manifests
        GET /v1/spectroclusters/{uid}/profiles/{profileUid}/packs/{packName}/manifests
        GET /v1/spectroclusters/{uid}/profileUpdates
        GET /v1/spectroclusters/{uid}/variables
        PATCH /v1/spectroclusters/{uid}/variables
        GET /v1/spectroclusters/{uid}/pack/manifests/{manifestUid}
        POST /v1/spectroclusters/{uid}/validate/packs
        POST /v1/spectroclusters/{uid}/validate/repave
        GET /v1/spectroclusters/{uid}/repave/status
        PATCH /v1/spectroclusters/{uid}/repave/approve
        GET /v1/spectroclusters/{uid}/status/spcApply
        POST /v1/spectroclusters/{uid}/status/spcApply
        GET /v1/spectroclusters/{uid}/assets
        GET /v1/spectroclusters/{uid}/assets/adminKubeconfig
        GET /v1/spectroclusters/{uid}/assets/kubeconfig
        GET /v1/spectroclusters/{uid}/assets/kubeconfigclient
        PATCH /v1/spectroclusters/{uid}/clusterConfig/clusterMetaAttribute
        GET /v1/spectroclusters/{uid}/features/backup
        GET /v1/spectroclusters/{uid}/features/complianceScan
        GET /v1/spectroclusters/{uid}/config/rbacs
        GET /v1/spectroclusters/{uid}/config/namespaces
        GET /v1/spectroclusters/{uid}/edge-native/edgeHosts
        POST /v1/spectroclusters/{uid}/edge/reset
        GET /v1/spectroclusters/{uid}/k8certificates
        PATCH /v1/spectroclusters/{uid}/k8certificates/renew
        GET /v1/spectroclusters/{uid}/features/logFetcher
        POST /v1/spectroclusters/{uid}/features/logFetcher
        GET /v1/spectroclusters/features/logFetcher/{uid}/download

        GET /v1/cloudconfigs/aws/{configUid}
        PUT /v1/cloudconfigs/aws/{configUid}/clusterConfig
        POST /v1/cloudconfigs/aws/{configUid}/machinePools
        PUT /v1/cloudconfigs/aws/{configUid}/machinePools/{machinePoolName}
        DELETE /v1/cloudconfigs/aws/{configUid}/machinePools/{machinePoolName}
        GET /v1/cloudconfigs/aws/{configUid}/machinePools/{machinePoolName}/machines
        GET /v1/cloudconfigs/aws/{configUid}/machinePools/{machinePoolName}/machines/{machineUid}
        DELETE /v1/cloudconfigs/aws/{configUid}/machinePools/{machinePoolName}/machines/{machineUid}
        GET /v1/cloudconfigs/edge-native/{configUid}
        PUT /v1/cloudconfigs/edge-native/{configUid}/clusterConfig
        POST /v1/cloudconfigs/edge-native/{configUid}/machinePools
        PUT /v1/cloudconfigs/edge-native/{configUid}/machinePools/{machinePoolName}
        DELETE /v1/cloudconfigs/edge-native/{configUid}/machinePools/{machinePoolName}
        GET /v1/cloudconfigs/edge-native/{configUid}/machinePools/{machinePoolName}/machines
        GET /v1/cloudconfigs/edge-native/{configUid}/machinePools/{machinePoolName}/machines/{machineUid}
        DELETE /v1/cloudconfigs/edge-native/{configUid}/machinePools/{machinePoolName}/machines/{machineUid}
        GET /v1/cloudconfigs/vsphere/{configUid}
        PUT /v1/cloudconfigs/vsphere/{configUid}/clusterConfig
        POST /v1/cloudconfigs/vsphere/{configUid}/machinePools
        PUT /v1/cloudconfigs/vsphere/{configUid}/machinePools/{machinePoolName}
        DELETE /v1/cloudconfigs/vsphere/{configUid}/machinePools/{machinePoolName}
        GET /v1/cloudconfigs/vsphere/{configUid}/machinePools/{machinePoolName}/machines
        GET /v1/cloudconfigs/vsphere/{configUid}/machinePools/{machinePoolName}/machines/{machineUid}
        DELETE /v1/cloudconfigs/vsphere/{configUid}/machinePools/{machinePoolName}/machines/{machineUid}
        PUT /v1/cloudconfigs/{cloudType}/{configUid}/machinePools/{machinePoolName}/machines/{machineUid}/maintenance
        GET /v1/cloudconfigs/{configUid}/machinePools/machineUids

        GET /v1/dashboard/spectroclusters/metadata
        POST /v1/dashboard/spectroclusters/metadata
        POST /v1/dashboard/spectroclusters/metadata/search
        GET /v1/dashboard/spectroclusters/metadata/search/schema
        POST /v1/dashboard/spectroclusters/search
        GET /v1/dashboard/spectroclusters/search/schema
        GET /v1/dashboard/spectroclusters/repaveStatus
        GET /v1/dashboard/spectroclusters/{uid}
        GET /v1/dashboard/spectroclusters/{uid}/overview

        GET /v1/edgehosts/metadata
        GET /v1/edgehosts/tags
        GET /v1/edgehosts/{uid}
        PUT /v1/edgehosts/{uid}
        DELETE /v1/edgehosts/{uid}
        PATCH /v1/edgehosts/{uid}/cluster/associate
        DELETE /v1/edgehosts/{uid}/cluster/associate
        GET /v1/edgehosts/{uid}/config
        PATCH /v1/edgehosts/{uid}/health
        PATCH /v1/edgehosts/{uid}/hostCheckSum
        PATCH /v1/edgehosts/{uid}/hostPairingKey
        PUT /v1/edgehosts/{uid}/meta
        PATCH /v1/edgehosts/{uid}/packs/status
        PATCH /v1/edgehosts/{uid}/tunnelConfig
        PUT /v1/edgehosts/{uid}/reset
        GET /v1/edgehosts/{uid}/spc/download
        POST /v1/dashboard/edgehosts/search
        GET /v1/dashboard/edgehosts/search/schema

        GET /v1/events/components
        GET /v1/events/components/{objectKind}/{objectUid}
    """,
}

#: ``"METHOD /path"`` to its scope.
SERVED: dict[str, str] = {
    line.strip(): scope for scope, block in _OPERATIONS.items() for line in block.splitlines() if line.strip()
}
