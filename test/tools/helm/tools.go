// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools keeps the programs that tools/build-testenv builds in go.mod.
package tools

import (
	_ "github.com/yannh/kubeconform/cmd/kubeconform"
	_ "helm.sh/helm/v3/cmd/helm"
)
