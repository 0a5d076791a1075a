//! Clients of the web inside: one address, several sites, of which one is allowed.

use super::among;

/// Each line of `asks` is what curl is asked, one after another; how each went.
fn curl(flags: &str, asks: &[&str]) -> Vec<String> {
    let asks = asks.iter().fold(String::new(), |all, ask| {
        all + "curl -sS -m 10 --cacert here/ca.pem " + ask + " 2>/dev/null || echo refused\n"
    });
    let script = format!("cat >asks <<'END'\n{asks}\nEND\n$RUN {flags} -- sh asks");
    among("nginx", &script).stdout().lines().map(str::to_owned).collect()
}

#[test]
fn of_sites_on_one_address_the_allowed_one_is_reached() {
    let (h2, h1) = ("served good.test by HTTP/2.0", "served good.test by HTTP/1.1");
    let evil2 = "served evil.test by HTTP/2.0";
    let asks = [
        "https://good.test/",
        "--http1.1 https://good.test/",
        "http://good.test/",
        // The same address by another name, by whatever way a client can be told.
        "--resolve evil.test:443:198.51.100.7 https://evil.test/",
        "--connect-to evil.test:443:good.test:443 https://evil.test/",
        "--connect-to evil.test:443:198.51.100.7:443 https://evil.test/",
        "--resolve evil.test:80:198.51.100.7 http://evil.test/",
        "-H 'Host: evil.test' http://good.test/",
        "-x http://good.test:80 http://evil.test/",
        // No name at all.
        "-k https://198.51.100.7/",
    ];
    let user = curl("--network user", &asks);
    let evil1 = "served evil.test by HTTP/1.1";
    let control = [h2, h1, h1, evil2, evil2, evil2, evil1, evil1, evil1];
    assert_eq!(user[..9], control, "{user:?}");
    assert_eq!(user[9], "served 198.51.100.7 by HTTP/2.0");
    let tried = curl("--allow good.test", &asks);
    assert_eq!(tried[..3], [h2, h1, h1], "{tried:?}");
    assert_eq!(tried[3..], ["refused"; 7], "{tried:?}");
    assert_eq!(curl("--allow good.test --allow-any-sni", &asks)[3..9], control[3..]);
}

#[test]
fn a_connection_that_is_kept_is_looked_at_again() {
    let asks = [
        "http://good.test/ http://good.test/",
        "http://good.test/ --next -sS -H 'Host: evil.test' http://good.test/",
        // Inside TLS nobody sees it: README says so.
        "-H 'Host: evil.test' https://good.test/",
    ];
    let good = "served good.test by HTTP/1.1";
    let fronted = "served evil.test by HTTP/2.0";
    let control = [good, good, good, "served evil.test by HTTP/1.1", fronted];
    assert_eq!(curl("--network user", &asks), control);
    assert_eq!(curl("--allow good.test", &asks), [good, good, good, "refused", fronted]);
}

#[test]
fn usual_clients_work_as_they_are() {
    let script = "git init -q --bare here/git/r.git
        commit=$(git -C here/git/r.git -c user.name=a -c user.email=a@a.test commit-tree -m one $(git -C here/git/r.git mktree </dev/null))
        git -C here/git/r.git update-ref refs/heads/master $commit; git -C here/git/r.git update-server-info
        cat >clients <<'END'
wget -qO- --ca-certificate=here/ca.pem https://good.test/
wget -qO- http://good.test/ http://good.test/
wget -qO- -t 1 -T 10 --ca-certificate=here/ca.pem https://evil.test/ || echo refused
git clone -q http://good.test/git/r.git clone 2>&1; git -C clone log --format=%s
python3 -c 'import urllib.request as u; print(u.urlopen(\"http://good.test/\").read().decode(), end=\"\")'
openssl s_client -connect good.test:443 -servername good.test -CAfile here/ca.pem </dev/null 2>/dev/null | grep -o 'Verification: OK'
openssl s_client -connect good.test:443 -noservername </dev/null 2>&1 | grep -c 'BEGIN CERT'
END
        sed -i 's/\\\\\"/\"/g' clients
        $RUN --allow good.test -- sh clients";
    let served = "served good.test by HTTP/1.1\n";
    let told = among("nginx", script).stdout();
    assert_eq!(
        told,
        format!("{served}{served}{served}refused\none\n{served}Verification: OK\n0\n")
    );
}

#[test]
fn many_requests_over_many_connections_are_all_answered() {
    let script = "for url in http://good.test/ https://good.test/; do
        $RUN --allow good.test -- wrk -t 1 -c 40 -d 1s $url; done";
    let told = among("nginx", script).succeeds().stdout();
    assert!(!told.contains("Socket errors") && !told.contains("Non-2xx"), "{told}");
    let requests: Vec<u32> = told
        .lines()
        .filter_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok())
        .collect();
    assert!(requests.len() == 2 && requests.iter().all(|count| *count > 100), "{told}");
}
