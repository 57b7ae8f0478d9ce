//! An authority of the test's own, and what it has signed.

use std::path::PathBuf;

use mongo_observer::servers::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

/// Whose certificate the client has, as RFC 2253 writes it: what stands last in the certificate comes first.
pub(super) const CLIENT: &str = "CN=observer,OU=streams,O=client";

/// A folder with PEM files.
pub(super) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// One that has signed a server's certificate and a client's.
    pub(super) fn new() -> Self {
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
    pub(super) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file of that name: `server.pem` and `client.pem` hold certificate and key; `….crt` and `….key` hold one of them.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a server needs that also takes clients without a certificate.
    pub(super) fn server(&self) -> TlsFiles {
        TlsFiles { server: self.path("server.pem"), authority: self.ca(), client: None }
    }

    /// What a server needs that takes only clients with one.
    pub(super) fn server_with_client(&self) -> TlsFiles {
        TlsFiles { client: Some(self.path("client.pem")), ..self.server() }
    }

    fn sign(&self, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let (certificate, key) = (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem());
        self.write(&format!("{name}.crt"), &certificate);
        self.write(&format!("{name}.key"), &key);
        self.write(&format!("{name}.pem"), &(certificate + &key));
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
