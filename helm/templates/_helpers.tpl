{{- define "inlet.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "inlet.labels" -}}
app.kubernetes.io/name: inlet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "inlet.selector" -}}
app.kubernetes.io/name: inlet
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The configuration file of one workload: the values' config with what the chart decides on top. */}}
{{- define "inlet.config" -}}
{{- $config := deepCopy .root.Values.config -}}
{{- $_ := set $config "roles" .roles -}}
{{- $_ := set $config "data_dir" "/data" -}}
{{- $_ := set $config "ingress" (mergeOverwrite (dict) ($config.ingress | default dict) (dict "listen" "0.0.0.0:8080")) -}}
{{- $_ := set $config "admin" (dict "listen" "0.0.0.0:8081") -}}
{{- $_ := set $config "shutdown" .root.Values.shutdown -}}
{{- $_ := set $config "log" (mergeOverwrite (dict "format" "json") ($config.log | default dict)) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The pod of one workload. */}}
{{- define "inlet.pod" -}}
metadata:
  labels:
    {{- include "inlet.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  annotations:
    # A changed configuration rolls the pods.
    checksum/config: {{ include "inlet.config" . | sha256sum }}
    prometheus.io/scrape: "true"
    prometheus.io/port: "8081"
    prometheus.io/path: /metrics
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "inlet.name" .root }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 40
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: { type: RuntimeDefault }
  containers:
    - name: inlet
      image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: ["run", "-c", "/etc/inlet/inlet.yaml"]
      ports:
        - { name: http, containerPort: 8080 }
        - { name: admin, containerPort: 8081 }
      # Kafka is in neither probe: an outage must not restart pods or empty the Service.
      livenessProbe:
        httpGet: { path: /healthz, port: admin }
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: admin }
        periodSeconds: 3
        failureThreshold: 1
      {{- with .root.Values.secretEnv }}
      envFrom:
        {{- range . }}
        - secretRef: { name: {{ . }} }
        {{- end }}
      {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: config, mountPath: /etc/inlet, readOnly: true }
        - { name: data, mountPath: /data }
        - { name: tmp, mountPath: /tmp }
  volumes:
    - name: config
      configMap: { name: {{ include "inlet.name" .root }}-{{ .component }} }
    - name: tmp
      emptyDir: {}
    {{- if eq .component "ingress" }}
    - name: data
      emptyDir: {}
    {{- end }}
  {{- with .root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
