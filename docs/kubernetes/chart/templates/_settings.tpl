{{/* Two maps as one, in YAML: the second wins, maps in both are merged in the same way, null takes a key away. */}}
{{- define "dbstash.merge" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
  {{- $old := get $result $key -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $result $key -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" $old) -}}
    {{- $_ := set $result $key (include "dbstash.merge" (list $old $value) | fromYaml) -}}
  {{- else -}}
    {{- $_ := set $result $key $value -}}
  {{- end -}}
{{- end -}}
{{- toYaml $result -}}
{{- end -}}

{{/* A number that is always the same for a text, less than a limit. */}}
{{- define "dbstash.number" -}}
{{- mod (adler32sum (sha256sum .text)) .limit -}}
{{- end -}}

{{/* A schedule with a number for each H. `seed` tells the databases apart. */}}
{{- define "dbstash.schedule" -}}
{{- $ranges := list (list 0 59) (list 0 23) (list 1 28) (list 1 12) (list 0 6) -}}
{{- $seed := .seed -}}
{{- $fields := list -}}
{{- range $index, $field := regexSplit "\\s+" (trim .schedule) -1 -}}
  {{- if hasPrefix "H" $field -}}
    {{- $range := index $ranges $index -}}
    {{- if contains "(" $field -}}
      {{- $range = regexFindAll "\\d+" $field -1 -}}
    {{- end -}}
    {{- $first := index $range 0 | int -}}
    {{- $limit := add1 (sub (index $range 1 | int) $first) -}}
    {{- $field = add $first (include "dbstash.number" (dict "text" (printf "%s %d" $seed $index) "limit" $limit) | int) | toString -}}
  {{- end -}}
  {{- $fields = append $fields $field -}}
{{- end -}}
{{- join " " $fields -}}
{{- end -}}

{{- define "dbstash.labels" -}}
app.kubernetes.io/name: dbstash
app.kubernetes.io/instance: {{ .name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "dbstash.chartLabels" -}}
app.kubernetes.io/part-of: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The Secret that a group of secrets is in. */}}
{{- define "dbstash.secretName" -}}
{{- if .group.values -}}
dbstash-{{ .db.name }}-{{ .label }}
{{- else -}}
{{ .group.existingSecret | replace "{name}" .db.name }}
{{- end -}}
{{- end -}}
