//! Self-signed certificates, for names that no authority has certified yet or ever will.

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};

use super::Bundle;

/// A certificate for one host name, `*.` pattern or address, with a fresh ECDSA P-256 key and nothing above it in the chain: clients that
/// pin it count certificates. Its dates are fixed, because it is made on boxes that may not know the date yet.
pub fn create(subject: &str) -> Result<Bundle, rcgen::Error> {
    let mut params = CertificateParams::new([subject.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "genkan");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Bundle::new(&key.serialize_pem(), &certificate.pem()))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    use super::super::provider;
    use super::*;

    fn alternative_name(subject: &str) -> String {
        let key = create(subject).expect("made").certified_key(&provider()).expect("usable");
        assert_eq!(key.cert.len(), 1);
        let (_, leaf) = X509Certificate::from_der(&key.cert[0]).expect("X.509");
        let names = leaf.subject_alternative_name().expect("readable").expect("present");
        match &names.value.general_names[..] {
            [GeneralName::DNSName(name)] => (*name).to_owned(),
            [GeneralName::IPAddress(bytes)] => format!("{bytes:?}"),
            other => format!("unexpected {other:?}"),
        }
    }

    #[test]
    fn the_subject_stands_in_the_alternative_names() {
        assert_eq!(alternative_name("hs.example.com"), "hs.example.com");
        assert_eq!(alternative_name("*.example.com"), "*.example.com");
        assert_eq!(alternative_name("192.168.1.2"), "[192, 168, 1, 2]");
    }
}
