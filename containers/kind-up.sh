#!/bin/sh
# A kind cluster named slipway, with Argo Workflows, Argo Events, a Cloud Storage emulator and Slipway itself.
# Needs docker, kind, kubectl, and the `slipway` command in SLIPWAY. CI does not run this: its cluster has no docker.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
workflows=https://github.com/argoproj/argo-workflows/releases/download/v3.7.15/install.yaml
events=https://raw.githubusercontent.com/argoproj/argo-events/v1.9.10/manifests/install.yaml

for program in docker kind kubectl; do
    command -v "$program" >/dev/null || { echo "$program is needed." >&2; exit 16; }
done
kind get clusters | grep -qx slipway || kind create cluster --name slipway --wait 120s
kubectl config use-context kind-slipway

for namespace in argo argo-events slipway-store; do
    kubectl create namespace "$namespace" --dry-run=client -o yaml | kubectl apply -f -
done
kubectl apply --server-side -n argo -f "$workflows"
kubectl apply --server-side -f "$events"

# The store, on a port of the node, so that pods and this machine (if it is a Linux: elsewhere Docker hides its nodes' addresses)
# reach it under one address. Its objects go with its pod.
node=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
store=http://$node:30443
kubectl apply -n slipway-store -f - <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: gcs}
spec:
  selector: {matchLabels: {app: gcs}}
  template:
    metadata: {labels: {app: gcs}}
    spec:
      containers:
        - name: gcs
          image: fsouza/fake-gcs-server:1.56.1
          args: [-scheme=http, -port=4443, -backend=memory, -data=/data, -external-url=$store]
          volumeMounts: [{name: bucket, mountPath: /data/slipway}]  # each folder in /data becomes a bucket
      volumes: [{name: bucket, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: gcs}
spec:
  type: NodePort
  selector: {app: gcs}
  ports: [{port: 4443, nodePort: 30443}]
YAML

REGISTRY='' "$here/images.sh"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$here/../steps/__init__.py")
kind load docker-image --name slipway "slipway/light:$version" "slipway/ml:$version" "slipway/operator:$version"

kubectl -n argo rollout status deployment/workflow-controller --timeout=300s
kubectl -n argo-events rollout status deployment/controller-manager --timeout=300s
kubectl -n slipway-store rollout status deployment/gcs --timeout=300s
"${SLIPWAY:-slipway}" install --store gs://slipway --set "STORAGE_EMULATOR_HOST=$store"
echo "For make e2e: export STORAGE_EMULATOR_HOST=$store"
