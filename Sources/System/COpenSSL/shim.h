#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

// Macros with arguments, which Swift cannot see.
static const uint64_t sy_op_all = SSL_OP_ALL;
static const uint64_t sy_op_no_ticket = SSL_OP_NO_TICKET;
static const uint64_t sy_op_no_compression = SSL_OP_NO_COMPRESSION;
static const uint64_t sy_op_no_renegotiation = SSL_OP_NO_RENEGOTIATION;
static const uint64_t sy_op_prefer_server = SSL_OP_CIPHER_SERVER_PREFERENCE;
static const uint64_t sy_op_ignore_end = SSL_OP_IGNORE_UNEXPECTED_EOF;
static const uint64_t sy_op_no_anti_replay = SSL_OP_NO_ANTI_REPLAY;
static const uint64_t sy_op_single_dh = SSL_OP_SINGLE_DH_USE;
static const uint64_t sy_op_no_versions[] = {
    SSL_OP_NO_SSLv3, SSL_OP_NO_TLSv1, SSL_OP_NO_TLSv1_1, SSL_OP_NO_TLSv1_2, SSL_OP_NO_TLSv1_3};
static inline uint64_t sy_op_no_version(int index) { return sy_op_no_versions[index]; }
static const unsigned long sy_name_rfc2253 = XN_FLAG_RFC2253;
static inline void sy_read_ahead(SSL_CTX *context) { SSL_CTX_set_read_ahead(context, 1); }

/// HMAC with SHA-256, which ends tickets. The names must outlive the call that makes a parameter of them.
static inline int sy_set_ticket_key(EVP_MAC_CTX *mac, unsigned char *key, size_t length) {
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string("key", key, length),
        OSSL_PARAM_construct_utf8_string("digest", digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters);
}
