"""Which test stands for which attack on the media port, and for which requirement of OWASP ASVS 5.0 chapter V17.

``tests/unit/test_attack_catalogue.py`` sees to it that each is there under its name.
"""

from __future__ import annotations

MEDIA = "crates/media/tests"
WIRE = "crates/media/src/wire"
SRTP = "crates/media/src/transport/srtp"

ATTACKS: dict[str, tuple[str, ...]] = {
    "1 ClientHello race": (
        f"{MEDIA}/attacks.rs::v17_2_6_a_client_hello_from_another_address_changes_nothing",
        f"{MEDIA}/forged_hellos.rs::v17_2_6_a_hello_in_two_datagrams_in_any_order_gets_through_a_flood_of_whole_ones_and_halves",
    ),
    "2 ClientHello flood, fragments, amplification": (
        f"{MEDIA}/forged_hellos.rs::a_flood_of_whole_hellos_makes_us_work_once_and_say_no_more_than_was_said",
        f"{MEDIA}/proven_paths.rs::a_handshake_in_a_victims_name_sends_it_three_times_the_bytes_at_most",
        "tests/attacks/test_media_port.py::test_client_hellos_from_an_address_that_no_check_validated_get_silence",
    ),
    "3 STUN flood and reflection": (
        f"{MEDIA}/attacks.rs::checks_that_do_not_authenticate_get_silence_and_answers_are_not_larger_than_checks",
        "tests/attacks/test_media_port.py::test_checks_with_a_wrong_password_get_silence_and_few_of_them_are_verified",
    ),
    "4 STUN parser": (
        "tests/attacks/test_media_port.py::test_every_truncation_and_every_flipped_byte_of_a_check_gets_silence",
        "tests/attacks/test_media_port.py::test_the_largest_datagrams_there_are_get_silence",
    ),
    "5 user fragments guessed or equal": (
        "tests/unit/test_attack_catalogue.py::test_user_fragments_have_64_bits_that_nobody_can_guess_and_are_never_equal",
        f"{MEDIA}/paths.rs::a_transport_that_is_refused_is_closed_too_so_that_nobody_waits_for_it",
        f"{MEDIA}/turns.rs::a_peer_joins_while_countless_made_up_sources_guess_its_password",
    ),
    "6 candidate flood": (
        "tests/attacks/test_candidates.py::test_candidates_of_every_spelling_cost_nothing_and_get_nothing",
    ),
    "7 address hijack": (
        f"{MEDIA}/proven_paths.rs::a_check_replayed_from_elsewhere_diverts_not_one_packet_however_old_it_is",
        f"{MEDIA}/restarts.rs::the_old_credentials_let_nobody_in_once_a_path_is_proven_under_the_new_ones",
    ),
    "8 consent": (
        f"{MEDIA}/proven_paths.rs::media_to_a_peer_that_is_gone_stops_within_thirty_seconds_whatever_is_sent_in_its_name",
        f"{MEDIA}/restarts.rs::a_path_that_falls_silent_is_told_once_in_time_for_a_restart_and_ends_after_thirty_seconds",
    ),
    "9 fingerprint mismatch": (f"{MEDIA}/attacks.rs::v17_2_8_another_certificate_than_the_announced_one_ends_it_all",),
    "10 weak profiles": (
        f"{MEDIA}/weak_hellos.rs::v17_2_2_null_and_anonymous_ciphers_srtp_null_and_dtls_1_0_get_no_keys",
    ),
    "11 malformed certificates, half-open handshakes": (
        f"{MEDIA}/malformed_certificates.rs"
        "::malformed_certificates_of_the_announced_fingerprint_get_no_keys_and_the_call_next_door_goes_on",
        f"{MEDIA}/dtls_forgery.rs::forged_certificates_key_exchanges_and_signatures_end_no_join",
        f"{MEDIA}/turns.rs::handshakes_of_a_whole_class_at_once_leave_room_in_every_turn_for_the_call_next_door",
        f"{MEDIA}/attacks.rs::a_peer_that_never_comes_and_one_that_never_shakes_hands_are_given_up",
    ),
    "12 bad tags": (
        f"{MEDIA}/attacks.rs::v17_2_3_bad_tags_replays_and_cut_packets_change_nothing",
        f"{MEDIA}/policing.rs::v17_2_3_datagrams_that_do_not_authenticate_take_nothing_from_what_a_peer_may_send",
    ),
    "13 replay and window": (
        f"{SRTP}/tests.rs::every_index_is_accepted_once_in_any_order_within_the_window",
        f"{SRTP}/tests.rs::loss_over_the_wrap_does_not_lose_the_rollover_counter",
        f"{SRTP}/tests.rs::rtcp_is_accepted_once_and_must_be_encrypted",
    ),
    "14 state for each SSRC": (
        f"{SRTP}/tests.rs::streams_are_counted_and_capped",
        f"{MEDIA}/hostile_peers.rs::sources_that_were_not_negotiated_are_dropped_and_bounded",
    ),
    "15 an index used twice": (
        f"{MEDIA}/srtp_indices.rs::no_index_is_sealed_twice_whatever_publisher_and_subscribers_do",
        f"{MEDIA}/srtp_indices.rs::retransmissions_far_behind_do_not_restart_the_numbers_so_no_index_is_sealed_twice",
    ),
    "16 padding, extensions, lengths": (
        f"{MEDIA}/hostile_peers.rs::v17_2_4_padding_that_lies_is_dropped",
        f"{MEDIA}/hostile_peers.rs::v17_2_4_authentic_rtp_of_any_content_never_panics",
    ),
    "17 payload descriptors": (
        f"{MEDIA}/descriptors.rs"
        "::descriptors_that_are_cut_nested_or_without_an_end_end_nothing_and_the_next_picture_is_whole",
        f"{MEDIA}/descriptors.rs::an_aggregate_of_nothing_over_and_over_is_no_keyframe_and_is_read_once",
        f"{WIRE}/dependency_descriptor/tests.rs::the_largest_structure_is_read",
        f"{WIRE}/dependency_descriptor/tests.rs::what_is_wrong_has_a_name_and_changes_nothing",
    ),
    "23 fan-out amplification": (
        "tests/attacks/test_fan_out.py"
        "::test_who_flaps_a_subscription_and_who_asks_for_ten_thousand_streams_take_nothing_from_a_call",
    ),
    "27 slow and idle TCP connections": (
        "tests/attacks/test_media_connections.py"
        "::test_ten_thousand_idle_connections_are_bounded_and_make_room_for_who_has_something_to_say",
        "tests/attacks/test_media_connections.py"
        "::test_a_frame_of_65535_that_comes_byte_by_byte_is_refused_at_its_head_and_a_slow_check_in_ten_seconds",
        "tests/attacks/test_media_connections.py"
        "::test_a_call_loses_nothing_beside_ten_thousand_idle_connections_and_frames_of_garbage",
    ),
    "a storm of ICE restarts": (
        "tests/contract/test_ice_restart.py::test_a_storm_of_restarts_is_priced_counted_and_ends_its_own_socket_alone",
        f"{MEDIA}/restarts.rs::a_storm_of_restarts_is_two_generations_and_the_call_next_door_loses_nothing",
    ),
}

ASVS: dict[str, tuple[str, ...]] = {
    "17.2.2": ATTACKS["10 weak profiles"],
    "17.2.3": ATTACKS["12 bad tags"],
    "17.2.4": ATTACKS["16 padding, extensions, lengths"],
    "17.2.5": (
        f"{MEDIA}/policing.rs::v17_2_5_what_a_flood_becomes_is_bounded_before_it_is_multiplied_and_its_sound_survives",
    ),
    "17.2.6": ATTACKS["1 ClientHello race"],
    "17.2.8": ATTACKS["9 fingerprint mismatch"],
    "17.3.1": ("tests/attacks/test_signaling.py::test_v17_3_1_10_000_messages_a_second",),
    "17.3.2": ("tests/attacks/test_signaling.py::test_v17_3_2_garbage_closes_its_own_socket",),
}
