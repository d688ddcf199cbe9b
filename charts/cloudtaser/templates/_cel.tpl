{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- /* Conditions in CEL that stand in several places. */ -}}

{{- define "cloudtaser.asks" -}}
has(object.metadata.annotations) &&
'cloudtaser.io/inject' in object.metadata.annotations &&
object.metadata.annotations['cloudtaser.io/inject'] != 'false'
{{- end }}

{{- /* Or carries what CloudTaser alone writes. */ -}}
{{- define "cloudtaser.asksOrSaysSo" -}}
{{ include "cloudtaser.asks" . }} ||
'cloudtaser.io/status' in object.metadata.?annotations.orValue({})
{{- end }}

{{- define "cloudtaser.wasInjected" -}}
object.spec.?volumes.orValue([]).exists(v, v.name == 'cloudtaser')
{{- end }}

{{- define "cloudtaser.touches" -}}
['cloudtaser.io/inject', 'cloudtaser.io/status'].exists(key,
  object.metadata.?annotations[?key].orValue('') !=
  oldObject.metadata.?annotations[?key].orValue('')) ||
object.spec.?initContainers.orValue([])
  .filter(c, c.name == 'cloudtaser-injector').map(c, c.?image.orValue('')) !=
oldObject.spec.?initContainers.orValue([])
  .filter(c, c.name == 'cloudtaser-injector').map(c, c.?image.orValue(''))
{{- end }}

{{- /* Is the container `c` wrapped? */ -}}
{{- define "cloudtaser.isWrapped" -}}
(c.?command.orValue([]).size() > 2 &&
 c.command[0] == '/cloudtaser/wrapper' && c.command[1] == '--')
{{- end }}

{{- /* Does a path lie, once cleaned, at or below a folder of ours? One with `..` that names one is taken to. */ -}}
{{- define "cloudtaser.reserved" -}}
({{ . }}.matches('^([.]?/)*cloudtaser(-identity)?(/|$)') ||
 ({{ . }}.contains('..') && {{ . }}.matches('(^|/)cloudtaser(-identity)?(/|$)')))
{{- end }}

{{- /* Is the mount `m` one of our volumes, or at a path of ours? */ -}}
{{- define "cloudtaser.isOurs" -}}
(m.name.startsWith('cloudtaser') || {{ include "cloudtaser.reserved" "m.mountPath" }})
{{- end }}

{{- /* Does the container `c` put something else at a path of ours? */ -}}
{{- define "cloudtaser.hidesOurs" -}}
({{ include "cloudtaser.reserved" "c.?terminationMessagePath.orValue('')" }} ||
 c.?volumeDevices.orValue([]).exists(d,
   d.name.startsWith('cloudtaser') || {{ include "cloudtaser.reserved" "d.devicePath" }}))
{{- end }}

{{- /* The start of a policy's spec; list: operations, resources. Opted-in pods alone depend on it. */ -}}
{{- define "cloudtaser.constraints" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [{{ index . 0 }}]
      resources: [{{ index . 1 }}]
      scope: Namespaced
{{- end }}

{{- /* Strings as a list of CEL: JSON is that too. */ -}}
{{- define "cloudtaser.celList" -}}
{{- if . }}{{ toRawJson . }}{{ else }}[]{{ end -}}
{{- end }}

{{- /* Does the agent of some node ask? */ -}}
{{- define "cloudtaser.isAgent" -}}
request.userInfo.username == 'system:serviceaccount:{{ .Release.Namespace }}:cloudtaser-agent'
{{- end }}

{{- /* The node that its pod runs on, by the API server's own word; '' when the token is no pod's. */ -}}
{{- define "cloudtaser.agentNode" -}}
request.userInfo.?extra[?'authentication.kubernetes.io/node-name'][?0].orValue('')
{{- end }}
