"""The configurations that the proxies are measured with, each as its users would have it for this work.

A configuration is made of a `Setup`; `<port>`, `<backend>` and `<dir>` are put in where the proxy starts.
"""

import json
import resource
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Setup:
    """What a proxy is to do beside passing requests and WebSockets on to the backend."""

    workers: int = 1
    # Connections that it has room for.
    connections: int = 8192
    # A certificate with its key, for TLS with clients.
    certificate: object = None
    # HTTP/2 with clients, without TLS.
    http2: bool = False
    # The configuration is going to be loaded anew.
    reloads: bool = False
    # By the kind of proxy: directives of the location, or a script.
    extra: dict = field(default_factory=dict, hash=False)


def file_limit():
    """Descriptors that a process may have here."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def most_tunnels():
    """How many tunnels a proxy can hold, with a connection to either side each."""
    return (file_limit() - 300) // 2


NGINX = """\
<main>
daemon off;
pid <dir>/proxy.pid;
error_log <dir>/error.log error;
worker_processes {workers};
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
    include <dir>/paths.conf;
    access_log off;
    keepalive_requests 100000000;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:sessions:4m;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream backend {{ server 127.0.0.1:<backend>; keepalive 64; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:<port>{listen} backlog=4096;
        {server}
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h;
            {extra}
        }}
    }}
}}
"""


def nginx(setup, kind="nginx"):
    """The same file for nginx and Switchyard, but for how each is told of HTTP/2."""
    listen, server = "", ""
    if setup.certificate:
        listen = " ssl"
        server = f"ssl_certificate {setup.certificate}; ssl_certificate_key {setup.certificate.key};"
    if setup.http2:
        if kind == "nginx":
            listen += " http2"
        else:
            server += " http2 on;"
    return NGINX.format(
        workers=setup.workers, connections=setup.connections, files=file_limit(), listen=listen, server=server,
        extra=setup.extra.get(kind, ""))


# Buffers of 64 KB are for large messages and bodies, as with the column nginx/64k.
HAPROXY = """\
global
    nbthread {workers}
    maxconn {connections}
    maxpipes 64
    tune.bufsize 65536
    ssl-default-bind-options ssl-min-ver TLSv1.2
    {main}
defaults
    mode http
    option splice-auto
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend clients
    bind 127.0.0.1:<port> backlog 4096{bind}
    {frontend}
    default_backend backend
backend backend
    server one 127.0.0.1:<backend> pool-max-conn 64
"""

HAPROXY_LUA = """\
core.register_action("look", { "http-req" }, function(txn)
    if txn.sf:req_hdr("accept") ~= "" then txn.http:req_set_header("X-Seen", "yes") end
end)
"""


def haproxy(setup):
    bind, main, frontend = "", "", ""
    if setup.certificate:
        bind = " ssl crt <dir>/certificate.pem alpn http/1.1"
    if setup.http2:
        bind += " proto h2"
    if "haproxy" in setup.extra:
        main, frontend = "lua-load <dir>/hook.lua", "http-request lua.look"
    return HAPROXY.format(
        workers=setup.workers, connections=min(setup.connections, most_tunnels()), bind=bind, main=main, frontend=frontend)


CADDY = """\
{{
    admin {admin}
    auto_https off
    default_sni localhost
    log {{
        level ERROR
    }}
    servers {{
        protocols h1 h2 h2c
    }}
}}
{site} {{
    bind 127.0.0.1
    {tls}
    reverse_proxy 127.0.0.1:<backend> {{
        transport http {{
            versions 1.1
            compression off
            keepalive 1h
            keepalive_idle_conns 64
            keepalive_idle_conns_per_host 64
        }}
    }}
}}
"""


def caddy(setup):
    secure = setup.certificate is not None
    return CADDY.format(
        admin="127.0.0.1:<admin>" if setup.reloads else "off",
        site="https://:<port>" if secure else "http://:<port>",
        tls=f"tls {setup.certificate} {setup.certificate.key}" if secure else "")


ENVOY_LUA = """\
function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get("accept") then headers:replace("x-seen", "yes") end
end
"""
ENVOY_TYPES = "type.googleapis.com/envoy.extensions."


def envoy(setup):
    """As JSON, which is YAML."""
    filters = [{"name": "envoy.filters.http.router", "typed_config": {
        "@type": ENVOY_TYPES + "filters.http.router.v3.Router", "dynamic_stats": False, "suppress_envoy_headers": True}}]
    if "envoy" in setup.extra:
        filters.insert(0, {"name": "envoy.filters.http.lua", "typed_config": {
            "@type": ENVOY_TYPES + "filters.http.lua.v3.Lua", "default_source_code": {"inline_string": ENVOY_LUA}}})
    manager = {
        "@type": ENVOY_TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients", "codec_type": "HTTP2" if setup.http2 else "HTTP1", "generate_request_id": False,
        "stream_idle_timeout": "0s", "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http2_protocol_options": {"allow_connect": True}, "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}]}]}}
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if setup.certificate:
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": ENVOY_TYPES + "transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{
                    "certificate_chain": {"filename": str(setup.certificate)},
                    "private_key": {"filename": str(setup.certificate.key)}}]}}}

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    many = 1 << 20
    text = json.dumps({"static_resources": {
        "listeners": [{
            "address": address("<port>"), "tcp_backlog_size": 4096, "filter_chains": [chain]}],
        "clusters": [{
            "name": "backend", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [{
                "max_connections": many, "max_pending_requests": many, "max_requests": many}]},
            "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address("<backend>")}}]}]}}]}}, indent=1)
    return text.replace('"<port>"', "<port>").replace('"<backend>"', "<backend>")
