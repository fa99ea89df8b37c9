"""The parts of a packet's time that ``bench.shares`` measures and its page shows."""

WITHIN_SENDING = {
    "the receiver's half": "__netif_receive_skb_one_core",
    "cutting of runs": "__skb_gso_segment",
    "packets made and copied": "ip_make_skb",
    "routes looked up": "ip_route_output_flow",
}
"""Parts of the sending, with the function of the kernel that each is."""
