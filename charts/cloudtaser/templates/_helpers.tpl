{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- /* One installation per cluster: names are fixed, and helm refuses a second release by them. */ -}}

{{- define "cloudtaser.selector" -}}
app.kubernetes.io/name: cloudtaser
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end }}

{{- define "cloudtaser.labels" -}}
{{ include "cloudtaser.selector" . }}
app.kubernetes.io/part-of: cloudtaser
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "cloudtaser.agentSelector" -}}
app.kubernetes.io/name: cloudtaser
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "cloudtaser.agentLabels" -}}
{{ merge (include "cloudtaser.agentSelector" . | fromYaml) (include "cloudtaser.labels" . | fromYaml) | toYaml }}
{{- end }}

{{- /* Annotations of what is there for as long as the agents retire; the argument is the order. */ -}}
{{- define "cloudtaser.retireHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* REPOSITORY[:TAG][@DIGEST] of a value `image`; list: the chart's context, the image. */ -}}
{{- define "cloudtaser.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $tag := $image.tag | default (ternary "" $root.Chart.AppVersion (ne $image.digest "")) -}}
{{- $image.repository -}}
{{- with $tag }}:{{ . }}{{ end -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{- define "cloudtaser.injectorImage" -}}
{{- include "cloudtaser.image" (list . .Values.injector.image) -}}
{{- end }}

{{- /* Where nobody may opt in, as JSON. */ -}}
{{- define "cloudtaser.excluded" -}}
{{- concat (list .Release.Namespace "kube-system") .Values.excludedNamespaces | uniq | toJson -}}
{{- end }}

{{- define "cloudtaser.failurePolicy" -}}
{{- ternary "Ignore" .Values.failurePolicy (eq .Values.mode "audit") -}}
{{- end }}

{{- /* Mode audit denies nothing: its policies only tell. */ -}}
{{- define "cloudtaser.validationActions" -}}
{{- ternary "[Warn, Audit]" "[Deny]" (eq .Values.mode "audit") -}}
{{- end }}

{{- /* Fails, with the value's name, unless a duration lies within bounds that no schema can tell; list: name,
value, bounds as texts. */ -}}
{{- define "cloudtaser.checkDuration" -}}
{{- $ms := list -}}
{{- range rest . -}}
{{- $unit := get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+$" .) -}}
{{- $ms = append $ms (mul (regexFind "^[0-9]+" . | atoi) $unit) -}}
{{- end -}}
{{- if or (lt (index $ms 0) (index $ms 1)) (gt (index $ms 0) (index $ms 2)) -}}
{{- fail (printf "%s is %s; %s to %s is allowed" (index . 0) (index . 1) (index . 2) (index . 3)) -}}
{{- end -}}
{{- end }}

{{- define "cloudtaser.checkDurations" -}}
{{- include "cloudtaser.checkDuration" (list "vault.timeout" .Values.vault.timeout "100ms" "5m") -}}
{{- include "cloudtaser.checkDuration" (list "vault.retryBudget" .Values.vault.retryBudget "0ms" "1h") -}}
{{- include "cloudtaser.checkDuration" (list "webhook.nodesMaxAge" .Values.webhook.nodesMaxAge "1s" "24h") -}}
{{- include "cloudtaser.checkDuration" (list "agent.labelHold" .Values.agent.labelHold "0ms" "24h") -}}
{{- include "cloudtaser.checkDuration" (list "agent.selfTestInterval" .Values.agent.selfTestInterval "1s" "1h") -}}
{{- if and .Values.agent.strict .Values.agent.exempt -}}
{{- fail "agent.strict knows no exemptions: agent.exempt has to be empty" -}}
{{- end -}}
{{- if eq .Values.certificates.mode "self" -}}
{{- include "cloudtaser.checkDuration" (list "certificates.life" .Values.certificates.life "6s" "596h") -}}
{{- else if eq .Values.certificates.mode "cert-manager" -}}
{{- /* What cert-manager's own webhook takes; and the chart's authority lives five years. */ -}}
{{- include "cloudtaser.checkDuration" (list "certificates.life" .Values.certificates.life "1h" "8760h") -}}
{{- end -}}
{{- end }}

{{- /* What API servers call the webhook by, as JSON. */ -}}
{{- define "cloudtaser.names" -}}
{{- $names := list (printf "cloudtaser-webhook.%s.svc" .Release.Namespace) -}}
{{- with .Values.webhook.url }}{{ $names = append $names (trimAll "[]" (urlParse .).hostname) }}{{ end -}}
{{- toJson $names -}}
{{- end }}

{{- /* The webhook's options, as its --config takes them. What is empty has the webhook's default. */ -}}
{{- define "cloudtaser.config" -}}
{{- include "cloudtaser.checkDurations" . -}}
{{- $v := .Values -}}
{{- $c := dict
  "listen" ":8443"
  "mode" $v.mode
  "injector-image" (include "cloudtaser.injectorImage" .)
  "injector-cpu" $v.injector.cpu
  "injector-memory" $v.injector.memory
  "min-protection-score" (int $v.minProtectionScore)
  "vault-timeout" $v.vault.timeout
  "vault-retry-budget" $v.vault.retryBudget
  "allow-skip-verify" $v.allow.skipVerify
  "allow-ca-configmap" $v.allow.caConfigmap
  "allow-plain-environment" $v.allow.plainEnvironment
  "log-format" $v.webhook.logFormat
  "log-level" $v.webhook.logLevel
  "threads" (int $v.webhook.threads)
  "max-connections" (int $v.webhook.maxConnections)
  "nodes-max-age" $v.webhook.nodesMaxAge -}}
{{- range $key, $value := dict "vault-address" $v.vault.address "vault-role" $v.vault.role
    "vault-auth-path" $v.vault.authPath "vault-namespace" $v.vault.namespace "vault-allow" $v.vault.allow -}}
{{- if $value }}{{ $_ := set $c $key $value }}{{ end -}}
{{- end -}}
{{- if eq $v.certificates.mode "self" -}}
{{- $names := include "cloudtaser.names" . | fromJsonArray -}}
{{- $c = merge $c (dict "cert-mode" "self" "cert-secret" "cloudtaser-webhook-tls" "cert-name" $names
    "cert-life" $v.certificates.life "webhook-configuration" "cloudtaser") -}}
{{- else -}}
{{- $c = merge $c (dict "cert-mode" "files" "tls-cert" "/tls/tls.crt" "tls-key" "/tls/tls.key") -}}
{{- end -}}
{{- toPrettyJson $c -}}
{{- end }}

{{- /* What the policies accept, as JSON: what these settings give, and what those gave that are being
replaced: replicas with them answer until the last one is gone, and if the roll-out is stuck they are
all there is. The next upgrade drops it. */ -}}
{{- define "cloudtaser.accepted" -}}
{{- $images := concat (list (include "cloudtaser.injectorImage" .)) .Values.injector.acceptedImages -}}
{{- $addresses := concat (list .Values.vault.address) .Values.vault.allow -}}
{{- $minimum := int .Values.minProtectionScore -}}
{{- $enforced := eq .Values.mode "enforce" -}}
{{- $allow := deepCopy .Values.allow -}}
{{- with lookup "v1" "ConfigMap" .Release.Namespace "cloudtaser-webhook" -}}
{{- $old := index .data "webhook.json" | default "{}" | fromJson -}}
{{- $images = append $images (get $old "injector-image") -}}
{{- $addresses = concat $addresses (list (get $old "vault-address")) (get $old "vault-allow" | default list) -}}
{{- $minimum = min $minimum (int (get $old "min-protection-score")) -}}
{{- $enforced = and $enforced (eq (get $old "mode") "enforce") -}}
{{- $allow = dict
  "skipVerify" (or $allow.skipVerify (get $old "allow-skip-verify"))
  "caConfigmap" (or $allow.caConfigmap (get $old "allow-ca-configmap"))
  "plainEnvironment" (or $allow.plainEnvironment (get $old "allow-plain-environment")) -}}
{{- end -}}
{{- dict "images" (compact $images | uniq) "addresses" (compact $addresses | uniq) "minimum" $minimum
    "enforced" $enforced "allow" $allow | toJson -}}
{{- end }}
