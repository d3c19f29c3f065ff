{{/* A CronJob. `db`: all settings of the database. `component`: backup or verify. `noRetry`: exit codes that the same again would not mend. */}}
{{- define "dbstash.cronjob" -}}
{{- $db := .db -}}
{{- $name := printf "dbstash-%s-%s" $db.name .component -}}
{{- $labels := include "dbstash.labels" (dict "name" $db.name "component" .component) -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- $labels | nindent 4 }}
    {{- include "dbstash.chartLabels" .root | nindent 4 }}
spec:
  schedule: {{ include "dbstash.schedule" (dict "schedule" .schedule "seed" (printf "%s/%s" .root.Release.Namespace $name)) | quote }}
  timeZone: {{ $db.timeZone }}
  suspend: {{ $db.suspend }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {{ $db.job.startingDeadlineSeconds | int64 }}
  successfulJobsHistoryLimit: {{ $db.job.successfulJobsHistoryLimit | int64 }}
  failedJobsHistoryLimit: {{ $db.job.failedJobsHistoryLimit | int64 }}
  jobTemplate:
    metadata:
      labels:
        {{- $labels | nindent 8 }}
    spec:
      backoffLimit: {{ $db.job.backoffLimit | int64 }}
      {{- with $db.job.activeDeadlineSeconds }}
      activeDeadlineSeconds: {{ . | int64 }}
      {{- end }}
      podFailurePolicy:
        rules:
          - action: Ignore
            onPodConditions:
              - { type: DisruptionTarget, status: "True" }
          - action: FailJob
            onExitCodes: { containerName: dbstash, operator: In, values: {{ toJson .noRetry }} }
      template:
        metadata:
          labels:
            {{- $labels | nindent 12 }}
            {{- with $db.podLabels }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          annotations:
            cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
            {{- with $db.podAnnotations }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
        spec:
          {{- include "dbstash.pod" . | nindent 10 }}
{{- end -}}

{{- define "dbstash.pod" -}}
{{- $db := .db -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $db.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with $db.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile: { type: RuntimeDefault }
  {{- with $db.podSecurityContext }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $db.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $db.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $db.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: dbstash
    image: "{{ .root.Values.image.repository }}:{{ $db.tag }}"
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- include "dbstash.env" . | trim | nindent 6 }}
    resources:
      {{- toYaml $db.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: { drop: [ALL] }
    volumeMounts:
      {{- range $label, $group := $db.secrets }}
      - { name: {{ $label }}, mountPath: /run/secrets/{{ $label }}, readOnly: true }
      {{- end }}
      - { name: tmp, mountPath: /tmp }
      {{- with $db.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  {{- range $label, $group := $db.secrets }}
  - name: {{ $label }}
    secret:
      secretName: {{ include "dbstash.secretName" (dict "db" $db "label" $label "group" $group) }}
      defaultMode: 0440
  {{- end }}
  - name: tmp
    {{- if $db.temp.storageClassName }}
    ephemeral:
      volumeClaimTemplate:
        spec:
          accessModes: [ReadWriteOnce]
          storageClassName: {{ $db.temp.storageClassName }}
          resources: { requests: { storage: {{ $db.temp.sizeLimit }} } }
    {{- else }}
    emptyDir: { sizeLimit: {{ $db.temp.sizeLimit }} }
    {{- end }}
  {{- with $db.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The variables: ours, those of the settings, and a file for each secret. */}}
{{- define "dbstash.env" -}}
{{- $db := .db -}}
{{- $env := merge (dict "BACKUP_SCHEDULE" "once") $db.env .env (dict "TZ" $db.timeZone) -}}
{{- range $variable, $value := $env }}
- { name: {{ $variable }}, value: {{ include "dbstash.text" $value | replace "{name}" $db.name | quote }} }
{{- end }}
{{- range $label, $group := $db.secrets }}
{{- if $group.values }}
{{- range $variable, $value := $group.values }}
- { name: {{ $variable }}_FILE, value: /run/secrets/{{ $label }}/{{ $variable }} }
{{- end }}
{{- else }}
{{- range $variable, $key := $group.keys }}
- { name: {{ $variable }}_FILE, value: "/run/secrets/{{ $label }}/{{ $key }}" }
{{- end }}
{{- end }}
{{- end }}
{{- with $db.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A value as a user wrote it: Helm takes 10000000 for a number, and would print it as 1e+07. */}}
{{- define "dbstash.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
