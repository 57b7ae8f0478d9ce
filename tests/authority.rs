//! An authority of the test's own, and what it has signed.

use std::path::PathBuf;

use mongo_observer::servers::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm,
};
use tempfile::TempDir;

/// Whose certificate the client has, as RFC 2253 writes it: what stands last in the certificate comes first.
pub(crate) const CLIENT: &str = "CN=observer,OU=streams,O=client";

/// What `locked.key` is encrypted with.
pub(crate) const LOCK: &str = "canary-7";

/// A key that was made for this file, and its public half.
const LOCKED_KEY: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgGPePMYH12TAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEBefZJN1NKd2QXT1wMd8ZOcEgZCx
ZCLmSmODUnZii3E1suEKznwmpLOeO3xl13uU0zILsa23C/3tn8IDTrfc4BvG93Rw
nw/qWUhZiSSUdeZJUgt3+TH4flbgwRkG4ncXz3B2G78rVrdKFDlOsL2mHZnvfcJr
NaZs7YkBWmhZ9fYN7JYPW8G4WPjX1sxbbsI964JQ9dBU8KoMyGayeF24tF8lY3s=
-----END ENCRYPTED PRIVATE KEY-----
";
const LOCKED_KEYS_PUBLIC_HALF: [u8; 65] = [
    0x04, 0x52, 0xad, 0x87, 0x61, 0x82, 0xb1, 0x6d, 0x91, 0xf6, 0x2d, 0x83, 0x03, 0x1a, 0x82, 0x08, 0x17,
    0x47, 0x22, 0x7d, 0xe3, 0x1b, 0x3a, 0x56, 0x46, 0xa1, 0xc7, 0x47, 0xd7, 0xbf, 0xb4, 0xf7, 0xea, 0x25,
    0x05, 0x28, 0xee, 0xce, 0x8b, 0xc9, 0xe0, 0x16, 0xcf, 0x2c, 0x06, 0xc9, 0x82, 0x3a, 0x9c, 0x68, 0x39,
    0xc2, 0x61, 0x39, 0x67, 0x51, 0xdb, 0xb6, 0x83, 0x8a, 0x91, 0xa1, 0xf9, 0xa9, 0x1b,
];

struct LockedKey;

impl PublicKeyData for LockedKey {
    fn der_bytes(&self) -> &[u8] {
        &LOCKED_KEYS_PUBLIC_HALF
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A folder with PEM files.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// One that has signed a server's certificate and a client's.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Each has a name of its own.
        let name = folder.path().file_name().unwrap().to_str().unwrap();
        let mut params = named(&[(DnType::CommonName, name)], &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { folder, issuer };
        authority.write("ca.pem", &authority.issuer.pem());
        let server = [(DnType::OrganizationName, "server"), (DnType::CommonName, "localhost")];
        let mut params = named(&server, &["127.0.0.1", "localhost"]);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        authority.sign("server", &params);
        let client = [
            (DnType::OrganizationName, "client"),
            (DnType::OrganizationalUnitName, "streams"),
            (DnType::CommonName, "observer"),
        ];
        let mut params = named(&client, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        authority.sign("client", &params);
        authority
    }

    /// The certificate of the authority itself.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file of that name: `server.pem` and `client.pem` hold certificate and key; `….crt` and `….key` hold one of them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a server needs that also takes clients without a certificate.
    pub(crate) fn server(&self) -> TlsFiles {
        TlsFiles { server: self.path("server.pem"), authority: self.ca(), client: None }
    }

    /// What a server needs that takes only clients with one.
    pub(crate) fn server_with_client(&self) -> TlsFiles {
        TlsFiles { client: Some(self.path("client.pem")), ..self.server() }
    }

    fn sign(&self, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let (certificate, key) = (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem());
        self.write(&format!("{name}.crt"), &certificate);
        self.write(&format!("{name}.key"), &key);
        self.write(&format!("{name}.pem"), &(certificate + &key));
    }

    /// A server's certificate, in `NAME.pem` with its key, that no client should trust: it has ended, or is another host's.
    pub(crate) fn sign_bad_servers(&self) {
        let server = [(DnType::CommonName, "server")];
        let mut ended = named(&server, &["127.0.0.1"]);
        ended.not_before = rcgen::date_time_ymd(2020, 1, 1);
        ended.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign("expired", &ended);
        self.sign("elsewhere", &named(&server, &["elsewhere.example"]));
    }

    /// A client's certificate, `locked.crt`, whose key, `locked.key`, is encrypted with [`LOCK`].
    pub(crate) fn sign_locked_client(&self) {
        let mut params = named(&[(DnType::CommonName, "locked")], &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.write("locked.crt", &params.signed_by(&LockedKey, &self.issuer).unwrap().pem());
        self.write("locked.key", LOCKED_KEY);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

fn named(subject: &[(DnType, &str)], addresses: &[&str]) -> CertificateParams {
    let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
    let mut params = CertificateParams::new(addresses).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params
}
