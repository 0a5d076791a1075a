//! Names inside are what they are on the host, as far as the rules allow.

use super::among;

/// Everything dig prints of an answer that a test wants to compare.
const DIG: &str = "dig() { command dig +noall +answer +comments \"$@\" | grep -v '^;; Got\\|^$' | sed 's/id: [0-9]*//; s/\\t\\t*[0-9]*\\tIN/ IN/'; }\n";

fn dig(flags: &str, asks: &str) -> String {
    let script =
        format!("$RUN {flags} -- sh -c '{}'", format!("{DIG}{asks}").replace('\'', "'\\''"));
    among("", &script).stdout()
}

#[test]
fn a_short_name_leads_where_it_does_on_the_host() {
    let look = "for name in short deep.er nobody; do getent ahostsv4 $name | grep STREAM || echo none; done";
    let script = format!(
        "({look}); echo; for flags in '--network user' '--allow short.lab.test' '--dns-search corp.test --dns-option ndots:3'; do
         $RUN $flags -- sh -c 'tail -n +2 /etc/resolv.conf; {look}'; echo; done; grep -c nobody $HERE/asked"
    );
    let told = among("", &script).stdout().replace("  ", "");
    let both = "198.51.100.7STREAM short.lab.test\n198.51.100.7STREAM deep.er.corp.test\nnone\n";
    let one = "198.51.100.7STREAM short.lab.test\nnone\nnone\n";
    let other = "none\n198.51.100.7STREAM deep.er.corp.test\nnone\n";
    let search = "search lab.test corp.test\n";
    // `nobody` in two domains and alone, four times where names may be asked for, in one domain once.
    let expected = format!(
        "{both}\n{search}{both}\n{search}{one}\nsearch corp.test\noptions ndots:3\n{other}\n"
    );
    let (before, asked) = told.rsplit_once("\n\n").unwrap();
    assert_eq!(format!("{before}\n\n"), expected);
    assert!(asked.trim().parse::<u32>().unwrap() > 0, "{told}");
}

#[test]
fn a_domain_that_is_searched_opens_nothing() {
    let script = "$RUN --allow good.test -- sh -c 'getent hosts s3cr3t.x; getent hosts s3cr3t; getent ahostsv4 good.test' | grep -c STREAM
                  $RUN --network user -- getent hosts s3cr3t-control; grep -o 's3cr3t[^ ]*' $HERE/asked | sort -u";
    let told = among("", script).stdout();
    let control = "s3cr3t-control\ns3cr3t-control.corp.test\ns3cr3t-control.lab.test\n";
    assert_eq!(told, format!("1\n{control}"));
}

#[test]
fn a_given_name_is_in_the_file_and_in_answers_and_may_be_dialled() {
    let dial = "for h in db.test DB.test; do python3 -c 'import socket,sys; socket.create_connection((sys.argv[1], 7001), 5); print(\"in\")' $h || echo out; done 2>/dev/null";
    let script = format!(
        "show() {{ cat <<'END'
tail -n 1 /etc/hosts; getent hosts db.test; dig +short db.test; dig +short -x 198.51.100.7; {dial}
END
}}
$RUN --allow good.test --allow db.test:7001 --add-host db.test:198.51.100.7 -- sh -c \"$(show)\"
$RUN --allow good.test --add-host db.test:198.51.100.7 -- sh -c \"$(show)\""
    );
    let told = among("peer", &script).stdout();
    let file = "198.51.100.7\tdb.test\n198.51.100.7    db.test\n";
    let allowed = format!("{file}198.51.100.7\ndb.test.\nin\nin\n");
    let refused = format!("{file}out\nout\n");
    assert_eq!(told, format!("{allowed}{refused}"));
}

#[test]
fn the_hosts_own_file_answers_for_what_may_be_asked_and_reached() {
    let asks = "getent ahostsv4 listed.test | grep -c STREAM; getent hosts inner.test; dig +short inner.test; dig +short -x 10.9.9.9; cat /etc/hosts | grep -c listed";
    let script = format!("$RUN --network user -- sh -c '{asks}'; getent hosts inner.test");
    // The host itself knows the other one too.
    among("", &script).stdout_is("1\n0\n10.9.9.9        inner.test\n");
}

#[test]
fn answers_of_every_kind_come_whole_over_datagrams_and_streams() {
    let asks = "dig c0.good.test; dig MX good.test; dig SRV _imap._tcp.good.test; dig CAA good.test; dig TXT good.test; dig AAAA v6.good.test";
    let told = dig("--network user", asks);
    let aliases = (0..9).fold(String::new(), |all, n| {
        all + &format!("c{}.other.test. IN\tCNAME\tc{}.other.test.\n", n + 1, n + 2)
    });
    let aliases = aliases.replace("c10.other.test.", "good.test.");
    for part in [
        &*format!("ANSWER: 11, AUTHORITY: 0, ADDITIONAL: 1\n;; ANSWER SECTION:\nc0.good.test. IN\tCNAME\tc1.other.test.\n{aliases}good.test. IN\tA\t198.51.100.7\n").replace("ADDITIONAL: 1\n", "ADDITIONAL: 1\n;; OPT PSEUDOSECTION:\n; EDNS: version: 0, flags:; udp: 1232\n"),
        "good.test. IN\tMX\t10 mail.good.test.",
        "_imap._tcp.good.test. IN\tSRV\t0 0 993 mail.good.test.",
        "good.test. IN\tCAA\t0 issue \"ca.test\"",
        "good.test. IN\tTXT\t\"v=spf1 -all\"",
        "v6.good.test. IN\tAAAA\t2001:db8::77",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[test]
fn what_does_not_fit_is_cut_and_comes_whole_over_a_stream() {
    let counts = "for how in '+notcp +ignore +bufsize=512' '+notcp +ignore +noedns' '+notcp +ignore +bufsize=4096' '+tcp' ''; do
        command dig $how many.good.test | tee $HOME/answer | grep -c '198.51.100.1[0-9][0-9]$'; grep -o ' tc ' $HOME/answer; done
        command dig +short TXT long.good.test | wc -c; command dig +dnssec +nsid +cookie +subnet=192.0.2.0/24 +short good.test";
    let told = dig("--network user --write .", &counts.replace("$HOME/answer", "answer"));
    assert_eq!(told, "0\n tc \n0\n tc \n40\n40\n40\n4872\n198.51.100.7\n");
}

#[test]
fn what_a_name_server_is_not_for_is_refused_or_left_out() {
    let asks = "dig ANY good.test; dig AXFR good.test; dig CH TXT version.bind; dig nobody.good.test; dig NS evil.test; dig HTTPS good.test; dig +opcode=update good.test";
    let told = dig("--allow *.good.test --allow good.test", asks);
    let statuses: Vec<&str> =
        told.lines().filter_map(|line| line.split_once("status: ")?.1.split(',').next()).collect();
    assert_eq!(
        statuses,
        ["NOTIMP", "REFUSED", "REFUSED", "NXDOMAIN", "NXDOMAIN", "NOERROR", "NOTIMP"],
        "{told}"
    );
    // No key that hides the name, no protocol that would be refused, no address that was not looked at.
    assert!(told.contains("HTTPS\t1 . alpn=\"h2\"\n"), "{told}");
    assert!(told.contains("Transfer failed") && !told.contains("WARNING"), "{told}");
}

#[test]
fn a_name_that_can_be_read_in_two_ways_is_none_and_no_label_carries_anything_out() {
    let script = r#"cat >asks <<'END'
for name in 'GOOD.test.' 'good.test\000' '\000.good.test' 'good.test\000.evil.test' 'evil.test\.good.test' \
	'a b.good.test' '\027[2J.good.test' "$(printf 's3cr3t%057d' 0).evil.test"; do
	for kind in A TXT; do dig +tries=1 +short $kind "$name" | wc -l; done
done | tr -d '\n'; echo
END
asked() { grep -c 'query\[' $HERE/asked; }
sh asks; asked
$RUN --allow good.test --allow '*.good.test' -- sh asks; asked
grep 'query\[' $HERE/asked | tail -2 | sed 's/.*query//; s/ from.*//'"#;
    // All of them reach the host's server from the host, and one from inside.
    let told = "1100000000000000\n16\n1100000000000000\n18\n[A] good.test\n[TXT] good.test\n";
    among("", script).stdout_is(told);
}
