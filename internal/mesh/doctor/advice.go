package doctor

import "fmt"

// The commands of each operating system. A person copies them, so each stands
// alone on its line.

// openPort says how to let a port in through the firewall of this machine.
func (f *facts) openPort(name, network string, port int) []string {
	if port == 0 {
		return nil
	}
	if name == "" {
		switch f.o.OS {
		case "windows":
			name = "windows"
		case "darwin":
			name = "macos"
		}
	}
	switch name {
	case "ufw":
		return []string{fmt.Sprintf("sudo ufw allow %d/%s", port, network)}
	case "firewalld":
		return []string{
			fmt.Sprintf("sudo firewall-cmd --permanent --add-port=%d/%s", port, network),
			"sudo firewall-cmd --reload",
		}
	case "nftables":
		return []string{fmt.Sprintf("sudo nft insert rule inet filter input %s dport %d accept", network, port)}
	case "iptables":
		return []string{
			fmt.Sprintf("sudo iptables -I INPUT -p %s --dport %d -j ACCEPT", network, port),
			fmt.Sprintf("sudo ip6tables -I INPUT -p %s --dport %d -j ACCEPT", network, port),
		}
	case "windows":
		return []string{fmt.Sprintf(`netsh advfirewall firewall add rule name="Aval %s %d" dir=in action=allow protocol=%s localport=%d`,
			network, port, network, port)}
	case "macos":
		return []string{
			`sudo /usr/libexec/ApplicationFirewall/socketfilterfw --add "$(which aval)"`,
			`sudo /usr/libexec/ApplicationFirewall/socketfilterfw --unblockapp "$(which aval)"`,
		}
	}
	return []string{fmt.Sprintf("Allow port %d, protocol %s, inwards in this machine's firewall.", port, upper(network))}
}

// openPorts is openPort for all ports that the node listens on.
func (f *facts) openPorts(name string) []string {
	udp := f.openPort(name, "udp", f.udpPort)
	tcp := f.openPort(name, "tcp", f.tcpPort)
	if len(udp) > 0 && len(tcp) > 0 && udp[0] == tcp[0] {
		return udp // by program, not by port
	}
	return append(udp, tcp...)
}

// setClock says how to set the clock.
func (f *facts) setClock() []string {
	switch f.o.OS {
	case "linux":
		return []string{"sudo timedatectl set-ntp true"}
	case "windows":
		return []string{"w32tm /resync"}
	case "darwin":
		return []string{"sudo sntp -sS time.apple.com"}
	}
	return []string{"Set the clock of this machine from the Internet (NTP), and its time zone."}
}

// forward says which ports to forward in the router, and to where.
func (f *facts) forward() string {
	to := "this machine"
	if f.private4.IsValid() {
		to = f.private4.String()
	}
	return fmt.Sprintf("In the router, under \"port forwarding\": forward %s to %s, the same port.", f.ports(), to)
}

// ports names the ports that the node listens on: "UDP port 4001 and TCP port
// 4001".
func (f *facts) ports() string {
	switch {
	case f.udpPort == 0 && f.tcpPort == 0:
		return "the node's port"
	case f.tcpPort == 0:
		return fmt.Sprintf("UDP port %d", f.udpPort)
	case f.udpPort == 0:
		return fmt.Sprintf("TCP port %d", f.tcpPort)
	}
	return fmt.Sprintf("UDP port %d and TCP port %d", f.udpPort, f.tcpPort)
}

func upper(network string) string {
	if network == "udp" {
		return "UDP"
	}
	return "TCP"
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
