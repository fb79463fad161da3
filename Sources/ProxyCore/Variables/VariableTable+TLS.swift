internal import Config
internal import Wire

extension VariableTable {
    static let tlsRows: [VariableRow] = [
        row("ssl_protocol", "version of TLS, such as `TLSv1.3`", .version),
        row("ssl_cipher", "cipher suite of the connection", .cipher),
        row("ssl_ciphers", "cipher suites that the client offers, joined by colons", .ciphers),
        row("ssl_curve", "group of the key exchange", .curve),
        row("ssl_curves", "groups that the client offers, joined by colons", .curves),
        row(
            "ssl_sigalg",
            "scheme of the server's signature, such as `rsa_pss_rsae_sha256`; empty in a resumed session",
            .signatureScheme),
        row(
            "ssl_client_sigalg",
            "scheme of the client's signature; empty without one and in a resumed session",
            .clientSignatureScheme),
        row("ssl_server_name", "name that the client asked for (SNI)", .serverName),
        row("ssl_alpn_protocol", "protocol that ALPN chose", .applicationProtocol),
        row("ssl_session_id", "the session's identifier in hexadecimal", .sessionID),
        row("ssl_session_reused", "`r` for a resumed session, else `.`", .sessionReused),
        row(
            "ssl_client_verify", "`SUCCESS`, `FAILED:` and a reason, or `NONE` without a certificate",
            .verification),
        row("ssl_client_raw_cert", "the client's certificate in PEM", .certificate),
        VariableRow("ssl_client_cert", "the same, each line but the first after a tab") { exchange, out in
            var pem: [UInt8] = []
            guard exchange.client.tls?.append(.certificate, to: &pem) == true else { return false }
            if pem.last == UInt8(ascii: "\n") { pem.removeLast() }
            for byte in pem {
                out.append(byte)
                if byte == UInt8(ascii: "\n") { out.append(UInt8(ascii: "\t")) }
            }
            return true
        },
        VariableRow("ssl_client_escaped_cert", "the client's certificate in PEM, escaped as in a URL") {
            exchange, out in
            var pem: [UInt8] = []
            guard exchange.client.tls?.append(.certificate, to: &pem) == true else { return false }
            URIEscape.appendComponent(pem.span, to: &out)
            return true
        },
        row("ssl_client_s_dn", "subject of the client's certificate, as RFC 2253 writes it", .subject),
        row("ssl_client_i_dn", "issuer of the client's certificate, as RFC 2253 writes it", .issuer),
        row("ssl_client_s_dn_legacy", "subject of the client's certificate, with slashes", .legacySubject),
        row("ssl_client_i_dn_legacy", "issuer of the client's certificate, with slashes", .legacyIssuer),
        row("ssl_client_serial", "serial number of the client's certificate", .serial),
        row("ssl_client_fingerprint", "SHA-1 of the client's certificate in hexadecimal", .fingerprint),
        row("ssl_client_v_start", "when the client's certificate became valid", .start),
        row("ssl_client_v_end", "when the client's certificate ends being valid", .end),
        row("ssl_client_v_remain", "days until the client's certificate ends being valid", .remainingDays),
        row("ssl_early_data", "`1` for what came before the handshake was over, else empty", .earlyData),
    ]

    private static func row(_ name: String, _ summary: String, _ fact: ClientTLSFact) -> VariableRow {
        VariableRow(name, summary) { exchange, out in exchange.client.tls?.append(fact, to: &out) ?? false }
    }
}
