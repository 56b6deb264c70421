package zk

import (
	"context"
	"fmt"
	"strings"

	wire "github.com/punchd/punchd/protocol/zk"
)

// Bounds of options: bytes of a name or a value, and how many there may be.
const (
	maxOption  = 256
	maxOptions = 512
)

// usual are options with the values that terminals come with.
const usual = `~OEMVendor=ZKTECO CO., LTD. ~ProductTime=2019-06-18 09:32:51 ~OS=1 ~ZKFPVersion=10 ZKFaceVersion=7
FaceFunOn=1 FingerFunOn=1 IPAddress=192.168.1.201 NetMask=255.255.255.0 GATEIPAddress=192.168.1.1
~SSR=1 ~ExtendFmt=1 ~UserExtFmt=1 ExtendOPLog=1 CompatOldFirmware=0 WorkCode=0 Language=69 BiometricType=111001000
~IsOnlyRFMachine=0 ~RFCardOn=1 ~T9FunOn=1 ~LockFunOn=1 ~APBFO=0 ~WCFO=0 encrypt_out=0 DeviceID=1 NewLng=0
IdleMinute=0 LockOn=5 AlarmAttLog=99 AlarmOpLog=99 AlarmReRec=1 RS232BaudRate=115200 RS232On=0 RS485On=0 NetworkOn=1
VoiceOn=1 MThreshold=35 EThreshold=45 VThreshold=15 ShowScore=0 UnlockPerson=0 MustEnroll=0 Must1To1=0 TOState=1 TOMenu=60
AutoAlarm1=65535 AutoAlarm2=65535 AutoAlarm3=65535 AutoAlarm4=65535 AutoAlarm5=65535 AutoAlarm6=65535
~ShowState=1 TCPPort=4370 UDPPort=4370 DtFmt=9 AntiPassbackOn=0`

func (c *Config) options() map[string]string {
	all := map[string]string{}
	name := ""
	for word := range strings.FieldsSeq(usual) {
		if n, value, found := strings.Cut(word, "="); found {
			name = n
			all[name] = value
		} else {
			all[name] += " " + word
		}
	}
	if c.Quirks.blackAndWhite() {
		all["~UserExtFmt"], all["~ExtendFmt"], all["~SSR"], all["FaceFunOn"] = "0", "0", "0", "0"
	}
	alnum := "0"
	if c.Quirks.PINAlnum {
		alnum = "1"
	}
	all["~IsABCPinEnable"], all["IsSupportABCPin"] = alnum, alnum
	all[wire.OptSerial], all[wire.OptPlatform], all[wire.OptDeviceName] = c.Serial, c.Platform, c.Name
	all[wire.OptPINWidth] = fmt.Sprint(c.Quirks.pinWidth())
	all[wire.OptMAC] = fmt.Sprintf("00:17:61:%02x:%02x:%02x", byte(c.Seed>>16), byte(c.Seed>>8), byte(c.Seed))
	return all
}

func (c *conn) readOption(ctx context.Context, p wire.Packet, name string) error {
	c.t.mu.Lock()
	value, known := c.t.options[name]
	refused := name == wire.OptSerial && c.t.refusesSerial()
	c.t.mu.Unlock()
	if refused {
		return c.reply(ctx, p, wire.AckError, nil)
	}
	if !known {
		switch c.t.cfg.Quirks.OptUnknown {
		case "unknown":
			return c.reply(ctx, p, wire.AckUnknown, nil)
		case "1387":
			return c.reply(ctx, p, wire.AckNoOption, nil)
		case "silent":
			return nil
		case "empty":
		default:
			return c.reply(ctx, p, wire.AckError, nil)
		}
	}
	data, err := wire.AppendOption(nil, name, value)
	return c.ack(ctx, p, data, err)
}

// serialRefusals is how often in a row a terminal with that quirk refuses to tell
// its serial number.
const serialRefusals = 4

// refusesSerial counts that the serial number is asked for, and reports whether
// it is refused this time. The caller holds the lock.
func (t *Terminal) refusesSerial() bool {
	told := t.cfg.Quirks.SerialRefused
	if told == 0 {
		return false
	}
	at := t.serials % (told + serialRefusals)
	t.serials++
	return at >= told
}

// writeOption keeps any option, as terminals do, but not another serial number:
// by it hosts tell terminals apart.
func (c *conn) writeOption(name, value string) error {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	_, known := c.t.options[name]
	if name == wire.OptSerial || len(name) > maxOption || len(value) > maxOption || !known && len(c.t.options) >= maxOptions {
		return fmt.Errorf("option %.32q can't be set", name)
	}
	c.t.options[name] = value
	return nil
}
