//! What kind of MongoDB servers to start, and how.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::process::Spec;
use super::{Mongo, ServerError, fetched, make_folder, named_by, on_path, retry_port_clash};

/// The file in the servers' folder that holds what members trust each other by.
pub(super) const KEY_FILE: &str = "keyfile";

/// A MongoDB server that `make services` (6.0.5) or `make services-all` (the others) brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MongoVersion {
    /// 4.4.2
    V4_4,
    /// 5.0.4
    V5_0,
    /// 6.0.5, or whatever `MONGOD` names or `PATH` holds.
    #[default]
    V6_0,
    /// 6.0.27
    V6_0_27,
}

impl MongoVersion {
    /// The version's number.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4_4 => "4.4.2",
            Self::V5_0 => "5.0.4",
            Self::V6_0 => "6.0.5",
            Self::V6_0_27 => "6.0.27",
        }
    }

    fn locate(self) -> Result<PathBuf, ServerError> {
        let program = fetched(&format!("mongodb-{}/mongod", self.as_str()));
        if self == Self::V6_0 {
            let missing = ServerError::NotFound {
                program: "mongod",
                fetch: "make services",
                variable: "MONGOD",
                example: "/path/to/mongod",
            };
            return named_by("MONGOD")?.or(program).or_else(|| on_path("mongod")).ok_or(missing);
        }
        program.ok_or(ServerError::NotFound {
            program: "this version of mongod",
            fetch: "make services-all",
            variable: "SERVICES_DIR",
            example: "/path/to/target/services",
        })
    }
}

/// Certificates for a server that takes TLS connections only. The server's certificate has to be valid for
/// 127.0.0.1.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and key, one PEM file.
    pub server: PathBuf,
    /// The certificate of the authority that signed it, and the clients' certificates.
    pub authority: PathBuf,
    /// The clients' certificate and key, one PEM file. If it is given, the server refuses clients without one.
    pub client: Option<PathBuf>,
}

/// What kind of servers to start.
#[derive(Debug, Clone)]
#[must_use = "nothing starts before `start`"]
pub struct MongoBuilder {
    pub(super) version: MongoVersion,
    pub(super) members: usize,
    pub(super) standalone: bool,
    pub(super) set_name: String,
    pub(super) oplog_mb: u32,
    pub(super) cache_mb: u32,
    pub(super) args: Vec<String>,
    pub(super) auth: bool,
    pub(super) tls: Option<TlsFiles>,
}

impl Default for MongoBuilder {
    fn default() -> Self {
        Self {
            version: MongoVersion::default(),
            members: 1,
            standalone: false,
            set_name: "rs0".to_owned(),
            oplog_mb: 256,
            cache_mb: 256,
            args: Vec::new(),
            auth: false,
            tls: None,
        }
    }
}

impl MongoBuilder {
    /// Which server; 6.0 by default.
    pub fn version(mut self, version: MongoVersion) -> Self {
        self.version = version;
        self
    }

    /// How many members the replica set has: one by default. Three elect a new primary within about two seconds.
    pub fn members(mut self, members: usize) -> Self {
        self.members = members.max(1);
        self
    }

    /// One server that is no replica set, and so has no oplog.
    pub fn standalone(mut self, standalone: bool) -> Self {
        self.standalone = standalone;
        self
    }

    /// The name of the replica set; `rs0` by default.
    pub fn set_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.set_name);
        self
    }

    /// The size of the oplog in megabytes; 256 by default.
    pub fn oplog_mb(mut self, megabytes: u32) -> Self {
        self.oplog_mb = megabytes;
        self
    }

    /// The size of WiredTiger's cache in megabytes; 256 by default, and at least.
    pub fn cache_mb(mut self, megabytes: u32) -> Self {
        self.cache_mb = megabytes.max(256);
        self
    }

    /// One more argument for `mongod`, such as `--noauth`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// One more server parameter, `name=value`. Test commands are always on.
    pub fn param(self, param: &str) -> Self {
        self.arg("--setParameter").arg(param)
    }

    /// Members trust each other by a key file, and clients have to log in; [`Mongo::uri`] holds the credentials of
    /// a user who may do everything.
    pub fn keyfile_auth(mut self, auth: bool) -> Self {
        self.auth = auth;
        self
    }

    /// Takes TLS connections only; [`Mongo::uri`] asks for TLS and names the files.
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Starts the servers and waits until there is a primary that takes writes and has a majority-committed
    /// optime, and every other member follows it.
    pub async fn start(self) -> Result<Mongo, ServerError> {
        retry_port_clash(async || Mongo::start(&self).await).await
    }

    /// How to start the server that listens on `port`, with its data in `folder`.
    pub(super) fn spec(&self, folder: &Path, port: u16) -> Result<Spec, ServerError> {
        let program = self.version.locate()?;
        let data = folder.join(port.to_string());
        make_folder(&data)?;
        let mut args: Vec<OsString> = vec!["--dbpath".into(), data.clone().into()];
        let options = format!(
            "--port {port} --bind_ip 127.0.0.1 --nounixsocket --quiet --wiredTigerCacheSizeGB {} \
             --setParameter enableTestCommands=1 --setParameter diagnosticDataCollectionEnabled=false",
            f64::from(self.cache_mb) / 1024.0
        );
        args.extend(options.split_whitespace().map(OsString::from));
        if self.version != MongoVersion::V4_4 {
            // By default a member that is asked to end takes 15 seconds to say goodbye to its clients.
            let patience = "shutdownTimeoutMillisForSignaledShutdown=100";
            args.extend(["--setParameter", patience].map(OsString::from));
        }
        if !self.standalone {
            let oplog_mb = self.oplog_mb.to_string();
            args.extend(["--replSet", &self.set_name, "--oplogSize", &oplog_mb].map(OsString::from));
        }
        if self.auth && self.standalone {
            args.push("--auth".into());
        } else if self.auth {
            args.extend(["--keyFile".into(), folder.join(KEY_FILE).into()]);
        }
        if let Some(tls) = &self.tls {
            args.extend(["--tlsMode", "requireTLS", "--tlsCertificateKeyFile"].map(OsString::from));
            args.extend([(&tls.server).into(), "--tlsCAFile".into(), (&tls.authority).into()]);
            if tls.client.is_none() {
                args.push("--tlsAllowConnectionsWithoutCertificates".into());
            }
        }
        args.extend(self.args.iter().map(OsString::from));
        let env =
            openssl(&program).map(|path| ("LD_LIBRARY_PATH".to_owned(), path.into())).into_iter().collect();
        Ok(Spec {
            name: format!("mongod 127.0.0.1:{port}"),
            program,
            args,
            env,
            log: folder.join(format!("{port}.log")),
            folder: folder.to_owned(),
        })
    }
}

/// The folder of OpenSSL 1.1 next to a server that was fetched. Servers that use OpenSSL 3 don't look at it.
fn openssl(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?.parent()?.join("openssl-1.1");
    folder.is_dir().then_some(folder)
}
