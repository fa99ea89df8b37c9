// A peer on pion: it receives one user's stream and publishes it again, packet by packet. What it is told and tells are
// JSON objects, a line each; signaling is done by whoever started it.
//
//	pion-peer [auto|client|server]: what it is in DTLS when it answers; auto is what pion chooses by itself
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v3"
)

type command struct {
	Do  string `json:"do"`
	SDP string `json:"sdp"`
}

var (
	uplink, downlink *webrtc.PeerConnection
	audio, video     *webrtc.TrackLocalStaticRTP
	videoSSRC        atomic.Uint32
	received         [2]atomic.Uint64
)

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tell(what map[string]any) {
	fmt.Println(string(must(json.Marshal(what))))
}

// connection makes a peer connection with Opus and VP8, and nothing that has to be negotiated beside them.
func connection(role string) *webrtc.PeerConnection {
	media := &webrtc.MediaEngine{}
	check(media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio))
	check(media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack", Parameter: "pli"}},
		},
		PayloadType: 96,
	}, webrtc.RTPCodecTypeVideo))
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	switch role {
	case "client":
		check(settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient))
	case "server":
		check(settings.SetAnsweringDTLSRole(webrtc.DTLSRoleServer))
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings))
	return must(api.NewPeerConnection(webrtc.Configuration{}))
}

func settled(pc *webrtc.PeerConnection, local webrtc.SessionDescription) string {
	gathered := webrtc.GatheringCompletePromise(pc)
	check(pc.SetLocalDescription(local))
	<-gathered
	return pc.LocalDescription().SDP
}

// passOn asks whose picture it is for a keyframe when a viewer of ours wants one.
func passOn(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			_, wants := packet.(*rtcp.PictureLossIndication)
			if ssrc := videoSSRC.Load(); wants && ssrc != 0 {
				_ = downlink.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}})
			}
		}
	}
}

func offer() {
	uplink = connection("auto")
	audio = must(webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "pion"))
	video = must(webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "pion"))
	for _, track := range []*webrtc.TrackLocalStaticRTP{audio, video} {
		only := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
		transceiver := must(uplink.AddTransceiverFromTrack(track, only))
		go passOn(transceiver.Sender())
	}
	uplink.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		tell(map[string]any{"uplink": state.String()})
	})
	sdp := settled(uplink, must(uplink.CreateOffer(nil)))
	mids := map[string]any{}
	for _, transceiver := range uplink.GetTransceivers() {
		mids[transceiver.Kind().String()] = transceiver.Mid()
	}
	tell(map[string]any{"offer": sdp, "mids": mids})
}

func answer(sdp, role string) {
	if downlink == nil {
		downlink = connection(role)
		downlink.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
			tell(map[string]any{"downlink": state.String()})
		})
		downlink.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			local, counter := audio, &received[0]
			if remote.Kind() == webrtc.RTPCodecTypeVideo {
				local, counter = video, &received[1]
				videoSSRC.Store(uint32(remote.SSRC()))
			}
			for {
				packet, _, err := remote.ReadRTP()
				if err != nil {
					return
				}
				counter.Add(1)
				packet.Extension, packet.Extensions = false, nil
				if local != nil {
					_ = local.WriteRTP(packet)
				}
			}
		})
	}
	check(downlink.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}))
	tell(map[string]any{"answer": settled(downlink, must(downlink.CreateAnswer(nil)))})
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		var told command
		check(json.Unmarshal(lines.Bytes(), &told))
		switch told.Do {
		case "offer":
			offer()
		case "accept":
			check(uplink.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: told.SDP}))
		case "answer":
			answer(told.SDP, os.Args[1])
		case "count":
			tell(map[string]any{"count": []uint64{received[0].Load(), received[1].Load()}})
		}
	}
	// Who started us is gone, or is done: the peer of a connection is told.
	for _, pc := range []*webrtc.PeerConnection{uplink, downlink} {
		if pc != nil {
			_ = pc.Close()
		}
	}
}
