/// Keys and tokens for tests. Those named by RFC 7515 are its appendix A's, the keys in PEM.
enum TokenFixtures {
    /// Of A.1, in base64url.
    static let rfcSecret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    static let rfcHS256 =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogI"
        + "mh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    static let rfcRS256 =
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlL"
        + "mNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
        + "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWz"
        + "O75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZES"
        + "c6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlU"
        + "PQGe77Rw"
    static let rfcES256 =
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlL"
        + "mNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
        + "pmWQxfKTUJqPP3-Kg6NU1Q"
    /// Signed by the key of `certificate`; r begins with a zero byte.
    static let shortES256 =
        "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJtZSJ9.ADcZSYhXqXjaW1HTFvLNgNhqbijXV6tLJqBH"
        + "QgTvpvGrbpoyvoJgeyuPRJCI0waC67imyFWVPZwNkyg2d84avw"
    static let rfcRSA = """
        -----BEGIN PUBLIC KEY-----
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj
        NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz
        P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo
        9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB
        EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX
        FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp
        oQIDAQAB
        -----END PUBLIC KEY-----
        """
    static let rfcP256 = """
        -----BEGIN PUBLIC KEY-----
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
        6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
        -----END PUBLIC KEY-----
        """
    static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBGDCBv6ADAgECAgEBMAoGCCqGSM49BAMCMBYxFDASBgNVBAMMC3NpZ25lci50
        ZXN0MB4XDTI0MDEwMTAwMDAwMFoXDTI0MDEwMjAwMDAwMFowFjEUMBIGA1UEAwwL
        c2lnbmVyLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASlUoD6CzGn4tUB
        k1tExfsanlKQMBQj11yM//IWizMOI6sguRTsHBGd1nHPwdCiB3v2OqgteqRBaPf7
        NM8ZYL6tMAoGCCqGSM49BAMCA0gAMEUCIQC+OEq+LUIwYO9I1feanCjo4ThU9fql
        14j7zF/EOh+7wgIgEGDWRRDOUJ8/yDEoYyKmfdYVdJNQJCD3KL9UknixY2Q=
        -----END CERTIFICATE-----
        """
    static let rsa1024 = """
        -----BEGIN PUBLIC KEY-----
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDLEJzy/50KjMYwnE/1GiCaP3Zk
        +RGJ+CzaRI8U+22nZSpoT82tN2sJNecGuIloQnjmcLzvb4wBasWxSDVXeRO8K3av
        7KYFoaGzvLb2jJubuLi1CanPSBCEseT6oNKUL3ymCfpzZQsfEWorjpuS8Onj1mef
        k8JOSrNw4AK/m53kcwIDAQAB
        -----END PUBLIC KEY-----
        """
    static let p384 = """
        -----BEGIN PUBLIC KEY-----
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEZZJ/Wzn3snFI7jWfi12gqIW5EAFZOVR1
        zK8pskG9Rp2bmGSW5I06vuiV2kJZzzkf6w3QBIzuPxl4YrTGznkkxRyHW6eJRJB6
        4/OlgSh/4VklWo66spDsE3VY+k5ncr1Q
        -----END PUBLIC KEY-----
        """
}
