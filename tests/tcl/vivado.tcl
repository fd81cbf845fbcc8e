# Stands in for Vivado: the commands that boards/vivado uses, as stubs that build the block design as data.
#
#     tclsh vivado.tcl -source build.tcl     runs a script as `vivado -mode batch -source build.tcl` would
#
# What AMD documents about the IPs' pins, interfaces and address segments stands here, apart from Spikeloom's own description.
# Whatever is not here (a command, a pin, an interface, a property) is an error. The graph is written as JSON to $STUB_GRAPH.
# $STUB_BOARDS: 1 if this Vivado has files of every board. $STUB_FAULT: something that goes wrong, see below.

namespace eval stub {
    variable graph [dict create cells {} buses {} nets {} segments {} excluded {} registers {} projects {} properties {} log {}]
    variable fault [expr {[info exists ::env(STUB_FAULT)] ? $::env(STUB_FAULT) : ""}]
    variable boards [expr {[info exists ::env(STUB_BOARDS)] && $::env(STUB_BOARDS)}]
    variable objects {}
    variable counter 0
    # Pins: name {direction kind ?setting that must be 1?}; kind: clk, rst, irq. Interfaces: name {mode bus ?setting?}.
    variable pins {
        processing_system7 {
            FCLK_CLK0 {out clk PCW_EN_CLK0_PORT} FCLK_RESET0_N {out rst PCW_EN_RST0_PORT}
            M_AXI_GP0_ACLK {in clk PCW_USE_M_AXI_GP0} S_AXI_HP0_ACLK {in clk PCW_USE_S_AXI_HP0}
            IRQ_F2P {in irq PCW_USE_FABRIC_INTERRUPT}
        }
        zynq_ultra_ps_e {
            pl_clk0 {out clk PSU__FPGA_PL0_ENABLE} pl_resetn0 {out rst PSU__USE__FABRIC__RST}
            maxihpm0_fpd_aclk {in clk PSU__USE__M_AXI_GP0} maxihpm1_fpd_aclk {in clk PSU__USE__M_AXI_GP1}
            saxihp0_fpd_aclk {in clk PSU__USE__S_AXI_GP2} pl_ps_irq0 {in irq PSU__USE__IRQ0}
        }
        proc_sys_reset {
            slowest_sync_clk {in clk} ext_reset_in {in rst} peripheral_aresetn {out rst} interconnect_aresetn {out rst}
        }
        axi_dma {
            s_axi_lite_aclk {in clk} m_axi_mm2s_aclk {in clk} m_axi_s2mm_aclk {in clk} axi_resetn {in rst}
            mm2s_introut {out irq} s2mm_introut {out irq}
        }
        axi_intc { s_axi_aclk {in clk} s_axi_aresetn {in rst} intr {in irq} irq {out irq} }
        smartconnect { aclk {in clk} aresetn {in rst} }
        xlconcat { dout {out irq} }
    }
    variable interfaces {
        processing_system7 { M_AXI_GP0 {master aximm PCW_USE_M_AXI_GP0} S_AXI_HP0 {slave aximm PCW_USE_S_AXI_HP0} }
        zynq_ultra_ps_e {
            M_AXI_HPM0_FPD {master aximm PSU__USE__M_AXI_GP0} M_AXI_HPM1_FPD {master aximm PSU__USE__M_AXI_GP1}
            S_AXI_HP0_FPD {slave aximm PSU__USE__S_AXI_GP2}
        }
        proc_sys_reset {}
        axi_dma {
            S_AXI_LITE {slave aximm} M_AXI_MM2S {master aximm c_include_mm2s} M_AXI_S2MM {master aximm c_include_s2mm}
            M_AXIS_MM2S {master axis c_include_mm2s} S_AXIS_S2MM {slave axis c_include_s2mm} M_AXI_SG {master aximm c_include_sg}
        }
        axi_intc { s_axi {slave aximm} }
        smartconnect {}
        xlconcat {}
    }
    # Settings before anybody sets them.
    variable defaults {
        processing_system7 {
            PCW_EN_CLK0_PORT 0 PCW_EN_RST0_PORT 0 PCW_USE_M_AXI_GP0 0 PCW_USE_S_AXI_HP0 0 PCW_USE_FABRIC_INTERRUPT 0
            PCW_IRQ_F2P_INTR 0 PCW_CRYSTAL_PERIPHERAL_FREQMHZ 33.333333 PCW_S_AXI_HP0_DATA_WIDTH 64
            PCW_FCLK0_PERIPHERAL_CLKSRC {IO PLL} PCW_FPGA0_PERIPHERAL_FREQMHZ 50 PCW_ENET0_PERIPHERAL_ENABLE 0
            PCW_ENET0_PERIPHERAL_FREQMHZ {1000 Mbps}
        }
        zynq_ultra_ps_e {
            PSU__FPGA_PL0_ENABLE 1 PSU__USE__FABRIC__RST 1 PSU__USE__M_AXI_GP0 1 PSU__USE__M_AXI_GP1 1 PSU__USE__M_AXI_GP2 0
            PSU__USE__S_AXI_GP2 0 PSU__USE__IRQ0 0 PSU__MAXIGP0__DATA_WIDTH 128 PSU__SAXIGP2__DATA_WIDTH 128
            PSU__HIGH_ADDRESS__ENABLE 0 PSU__PSS_REF_CLK__FREQMHZ 33.333 PSU__OVERRIDE__BASIC_CLOCK 0
            PSU__CRL_APB__IOPLL_CTRL__FBDIV 90 PSU__CRL_APB__IOPLL_CTRL__DIV2 1 PSU__CRL_APB__PL0_REF_CTRL__SRCSEL IOPLL
            PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 100 PSU__CRL_APB__PL0_REF_CTRL__DIVISOR0 15
            PSU__CRL_APB__PL0_REF_CTRL__DIVISOR1 1
        }
        proc_sys_reset {}
        axi_dma {
            c_include_sg 1 c_sg_include_stscntrl_strm 1 c_micro_dma 0 c_sg_length_width 14 c_addr_width 32
            c_include_mm2s 1 c_include_mm2s_dre 0 c_m_axi_mm2s_data_width 32 c_m_axis_mm2s_tdata_width 32 c_mm2s_burst_size 16
            c_include_s2mm 1 c_include_s2mm_dre 0 c_m_axi_s2mm_data_width 32 c_s_axis_s2mm_tdata_width 32 c_s2mm_burst_size 16
        }
        axi_intc { C_IRQ_CONNECTION 0 C_IRQ_IS_LEVEL 1 }
        smartconnect { NUM_SI 1 NUM_MI 1 NUM_CLKS 1 }
        xlconcat { NUM_PORTS 2 }
    }

    proc note {key value} { variable graph; dict lappend graph $key $value }
    proc fresh {kind args} {
        variable objects; variable counter
        set name "$kind#[incr counter]"
        dict set objects $name [dict create {*}$args]
        return $name
    }
    proc cell {name} {
        variable graph
        if {![dict exists $graph cells $name]} { error "there is no cell $name" }
        return [dict get $graph cells $name]
    }
    proc config {name key} { return [dict get [cell $name] config $key] }
    proc ip {name} { return [dict get [cell $name] ip] }

    # Interfaces and pins that a cell has with its settings.
    proc interfaces_of {name} {
        variable interfaces; variable packaged
        set ip [ip $name]
        if {$ip eq "spikeloom"} { return [dict get $packaged interfaces] }
        set found [usable $name [dict get $interfaces $ip]]
        if {$ip eq "smartconnect"} {
            for {set i 0} {$i < [config $name NUM_SI]} {incr i} { dict set found [format S%02d_AXI $i] {slave aximm} }
            for {set i 0} {$i < [config $name NUM_MI]} {incr i} { dict set found [format M%02d_AXI $i] {master aximm} }
        }
        return $found
    }
    proc pins_of {name} {
        variable pins
        set ip [ip $name]
        if {$ip eq "spikeloom"} { return {aclk {in clk} aresetn {in rst}} }
        set found [usable $name [dict get $pins $ip]]
        if {$ip eq "xlconcat"} {
            for {set i 0} {$i < [config $name NUM_PORTS]} {incr i} { dict set found In$i {in irq} }
        }
        return $found
    }
    proc usable {name entries} {
        set found {}
        dict for {key entry} $entries {
            if {[llength $entry] < 3 || [config $name [lindex $entry 2]]} { dict set found $key $entry }
        }
        return $found
    }
    proc segments_of {pin} {
        lassign [split $pin /] name interface
        switch [ip $name] {
            processing_system7 { return {HP0_DDR_LOWOCM} }
            zynq_ultra_ps_e {
                set high [expr {[config $name PSU__HIGH_ADDRESS__ENABLE] ? "HP0_DDR_HIGH" : ""}]
                return [concat HP0_DDR_LOW $high HP0_LPS_OCM HP0_QSPI]
            }
            default { return Reg }
        }
    }
    # Vivado computes the divisors of the PL clock from the PLL that the other settings give.
    proc divisors {name} {
        variable graph; variable fault
        set board [dict get [cell $name] preset]
        if {[ip $name] eq "processing_system7"} {
            set pll [expr {$board || [config $name PCW_ENET0_PERIPHERAL_ENABLE] ? 1000.0 : 1600.0}]
            set wanted [config $name PCW_FPGA0_PERIPHERAL_FREQMHZ]
            set keys {PCW_FCLK0_PERIPHERAL_DIVISOR0 PCW_FCLK0_PERIPHERAL_DIVISOR1}
        } else {
            if {[config $name PSU__CRL_APB__PL0_REF_CTRL__SRCSEL] ne "IOPLL"} { error "the PL clock is not of the I/O PLL" }
            set pll [expr {[config $name PSU__CRL_APB__IOPLL_CTRL__FBDIV] * 33.333333 / 2}]
            if {$board} { set pll [expr {[string match *som* $::stub::board_part] ? 1000.0 : 1500.0}] }
            set wanted [config $name PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ]
            set keys {PSU__CRL_APB__PL0_REF_CTRL__DIVISOR0 PSU__CRL_APB__PL0_REF_CTRL__DIVISOR1}
        }
        set product [expr {round($pll / $wanted)}]
        if {$fault eq "pll"} { incr product }
        foreach d {5 4 3 2 1} {
            if {$product % $d == 0} { break }
        }
        dict set graph cells $name config [lindex $keys 0] [expr {$product / $d}]
        dict set graph cells $name config [lindex $keys 1] $d
        return [expr {1e6 * $pll / $product}]
    }

    # Interfaces of the wrapper, read from its attributes as the packager does.
    proc read_wrapper {file} {
        set channel [open $file]; set text [read $channel]; close $channel
        set interfaces {}
        foreach {- definition name logical} [regexp -all -inline {X_INTERFACE_INFO = "(\S+) (\S+) (\S+)"} $text] {
            set bus [lindex [split $definition :] 2]
            dict lappend ports $name $logical
            dict set interfaces $name $bus
        }
        set found {}
        dict for {name bus} $interfaces {
            set mode slave
            # A stream whose TVALID is an output is a master's.
            if {[regexp "X_INTERFACE_INFO = \"\\S+ $name TVALID\" \\*\\)\\s+output" $text]} { set mode master }
            dict set found $name [list $mode $bus]
        }
        set settings {}
        foreach {- name value} [regexp -all -inline {parameter (\w+) = "([^"]*)"} $text] { dict set settings $name $value }
        variable packaged [dict create interfaces $found settings $settings ports $ports]
        return $found
    }

    proc json {value kind} {
        switch $kind {
            text { return "\"[string map {\\ \\\\ \" \\\" \n \\n \t \\t} $value]\"" }
            list {
                set parts {}
                foreach one $value { lappend parts [json $one text] }
                return "\[[join $parts ,]\]"
            }
            lists {
                set parts {}
                foreach one $value { lappend parts [json $one list] }
                return "\[[join $parts ,]\]"
            }
            dict {
                set parts {}
                dict for {key one} $value { lappend parts "[json $key text]:[json $one text]" }
                return "{[join $parts ,]}"
            }
        }
    }
    proc dump {} {
        variable graph; variable packaged
        if {![info exists ::env(STUB_GRAPH)]} { return }
        set cells {}
        dict for {name cell} [dict get $graph cells] {
            lappend cells "[json $name text]:{\"vlnv\":[json [dict get $cell vlnv] text],\"config\":[json [dict get $cell config] dict]}"
        }
        set parts [list "\"cells\":{[join $cells ,]}"]
        foreach key {buses nets segments excluded registers projects log} {
            lappend parts "\"$key\":[json [dict get $graph $key] lists]"
        }
        if {[info exists packaged]} {
            set found {}
            dict for {name entry} [dict get $packaged interfaces] { dict set found $name [join $entry " "] }
            lappend parts "\"interfaces\":[json $found dict]" "\"settings\":[json [dict get $packaged settings] dict]"
        }
        set channel [open $::env(STUB_GRAPH) w]
        puts $channel "{[join $parts ,]}"
        close $channel
    }
    proc write_hwh {file} {
        variable graph; variable fault
        set channel [open $file w]
        puts $channel "<EDKSYSTEM><MODULES>"
        dict for {name cell} [dict get $graph cells] {
            puts $channel "<MODULE INSTANCE=\"$name\" VLNV=\"[dict get $cell vlnv]\"><PARAMETERS>"
            dict for {key value} [dict get $cell config] { puts $channel "<PARAMETER NAME=\"$key\" VALUE=\"$value\"/>" }
            puts $channel "</PARAMETERS><MEMORYMAP>"
            foreach segment [dict get $graph segments] {
                lassign $segment space slave block offset
                if {$fault eq "hwh"} { set offset 0x50000000 }
                if {[string match $name/* $space]} {
                    puts $channel "<MEMRANGE BASEVALUE=\"$offset\" INSTANCE=\"[lindex [split $slave /] 0]\"/>"
                }
            }
            puts $channel "</MEMORYMAP></MODULE>"
        }
        puts $channel "</MODULES></EDKSYSTEM>"
        close $channel
    }
    proc touch {file} {
        file mkdir [file dirname $file]
        set channel [open $file w]; puts $channel stub; close $channel
    }
}

# Projects and files.
proc create_project {args} {
    lassign [lsearch -all -inline -not -exact $args -force] name directory flag part
    if {$flag ne "-part"} { error "create_project: no -part" }
    set ::stub::project [dict create name $name directory $directory]
    stub::note projects [list $name $part]
    file mkdir $directory
}
proc close_project {} { unset ::stub::project }
proc current_project {} { return project }
proc current_fileset {} { return fileset }
proc update_compile_order {flag set} {}
proc update_ip_catalog {} {}
proc add_files {flag files} {
    if {$flag ne "-norecurse"} { error "add_files: $flag" }
    foreach file $files {
        if {![file exists $file]} { error "add_files: there is no $file" }
        if {[file tail $file] eq "spikeloom_ip.v"} { set ::stub::wrapper_file $file }
    }
}
proc get_files {name} { return $name }
proc get_board_parts {quiet name} { return [expr {$::stub::boards ? $name : ""}] }
proc make_wrapper {files_flag file top_flag} {
    set made [file join [dict get $::stub::project directory] system_wrapper.v]
    stub::touch $made
    return $made
}

# Properties.
proc set_property {args} {
    if {[lindex $args 0] eq "-dict"} {
        lassign $args - pairs object
        foreach {name value} $pairs { set_property $name $value $object }
        return
    }
    lassign $args name value object
    if {[dict exists $::stub::graph cells $object]} {
        set key [string range $name 7 end]
        if {![string match CONFIG.* $name] || ![dict exists $::stub::graph cells $object config $key]} {
            error "cell $object of IP [stub::ip $object] has no property $name"
        }
        dict set ::stub::graph cells $object config $key $value
    } elseif {[dict exists $::stub::objects $object]} {
        dict set ::stub::objects $object $name $value
    } elseif {$object in {project fileset}} {
        if {$name ni {board_part ip_repo_paths top}} { error "the $object has no property $name" }
        if {$name eq "board_part"} { set ::stub::board_part $value }
        stub::note log [list $name $value]
    } else {
        error "set_property: there is no object '$object'"
    }
}
proc get_property {name object} {
    if {[dict exists $::stub::graph cells $object]} {
        set rate [expr {[string match *DIVISOR* $name] ? [stub::divisors $object] : 0}]
        return [dict get $::stub::graph cells $object config [string range $name 7 end]]
    }
    if {$name eq "CONFIG.FREQ_HZ"} { return [stub::divisors [lindex [split $object /] 0]] }
    if {$name eq "NAME" && [string match segment:* $object]} { return [lindex [split $object :] 2] }
    if {[dict exists $::stub::objects $object]} { return [dict get $::stub::objects $object $name] }
    if {$object in {synth_1 impl_1}} {
        set failed [expr {$::stub::fault eq $object}]
        switch $name {
            PROGRESS { return [expr {$failed ? "42%" : "100%"}] }
            STATUS { return [expr {$failed ? "$object ERROR" : "complete"}] }
            STATS.WNS { return [expr {$::stub::fault eq "slack" ? -0.417 : 0.312}] }
            STATS.WHS { return [expr {$::stub::fault eq "noslack" ? "" : 0.021}] }
            DIRECTORY { return [file join [dict get $::stub::project directory] system.runs impl_1] }
        }
    }
    error "get_property: '$object' has no property $name"
}

# The packager.
namespace eval ipx {
    proc package_project {args} {
        foreach flag {-import_files} { set args [lsearch -all -inline -not -exact $args $flag] }
        set args [lsearch -all -inline -not -exact $args -force]
        foreach {flag value} $args {
            if {$flag ni {-root_dir -vendor -library -taxonomy -set_current}} { error "package_project: $flag" }
        }
        variable core [::stub::fresh core vendor [dict get $args -vendor] library [dict get $args -library]]
        variable modes [::stub::read_wrapper $::stub::wrapper_file]
        variable maps [list [::stub::fresh map name s_axi]]
    }
    proc current_core {} { variable core; return $core }
    proc get_bus_interfaces {name flag core} {
        variable modes; variable objects
        if {![dict exists $modes $name]} { return "" }
        if {![info exists objects($name)]} {
            set objects($name) [::stub::fresh interface name $name interface_mode [lindex [dict get $modes $name] 0]]
        }
        return $objects($name)
    }
    proc get_memory_maps {flag core} { variable maps; return $maps }
    proc remove_memory_map {name core} { variable maps; set maps [lrange $maps 1 end] }
    proc add_memory_map {name core} { return [::stub::fresh map name $name] }
    proc add_address_block {name map} { variable block [::stub::fresh block name $name]; return $block }
    proc add_register {name block} { variable registers; set new [::stub::fresh register name $name]; lappend registers $new; return $new }
    proc add_field {name register} {
        variable fields; set new [::stub::fresh field name $name]; lappend fields($register) $new; return $new
    }
    proc create_xgui_files {core} {}
    proc update_checksums {core} {}
    proc check_integrity {core} {}
    proc save_core {core} {
        variable registers; variable fields; variable block
        set ::stub::core [dict get $::stub::objects $core]
        stub::note log [list range [dict get $::stub::objects $block range]]
        foreach register $registers {
            set one [dict get $::stub::objects $register]
            set bits {}
            if {[info exists fields($register)]} {
                foreach field $fields($register) {
                    set f [dict get $::stub::objects $field]
                    lappend bits "[dict get $f name]:[dict get $f bit_offset]:[dict get $f bit_width]"
                }
            }
            ::stub::note registers [list [dict get $one name] [dict get $one address_offset] [dict get $one access] [join $bits " "]]
        }
    }
}

# The block design.
proc create_bd_design {name} {}
proc get_ipdefs {flag filter} {
    if {![regexp {^VENDOR == (\S+) && LIBRARY == (\S+) && NAME == (\S+)$} $filter - vendor library name]} { error "get_ipdefs: $filter" }
    if {$::stub::fault eq "ip" && $name eq "axi_dma"} { return "" }
    set versions {processing_system7 5.5 zynq_ultra_ps_e 3.5 axi_dma 7.1 axi_intc 4.1 proc_sys_reset 5.0 xlconcat 2.1 smartconnect 1.0}
    if {[dict exists $versions $name] && "$vendor:$library" eq "xilinx.com:ip"} { return $vendor:$library:$name:[dict get $versions $name] }
    set core $::stub::core
    if {"$vendor:$library:$name" eq "[dict get $core vendor]:[dict get $core library]:[dict get $core name]"} {
        return $vendor:$library:$name:[dict get $core version]
    }
    return ""
}
proc create_bd_cell {type ip flag vlnv name} {
    set ip [lindex [split $vlnv :] 2]
    set config [expr {$ip eq "spikeloom" ? [dict get $::stub::packaged settings] : [dict get $::stub::defaults $ip]}]
    dict set ::stub::graph cells $name [dict create vlnv $vlnv ip $ip config $config preset 0]
    return $name
}
proc apply_bd_automation {rule_flag rule config_flag config cell} {
    if {[dict get $config apply_board_preset] == 1} {
        if {!$::stub::boards} { error "this Vivado has no preset of the board" }
        dict set ::stub::graph cells $cell preset 1
    }
    stub::note log [list automation $rule $config]
}
proc get_bd_cells {name} { stub::cell $name; return $name }
proc get_bd_pins {pin} {
    lassign [split $pin /] cell name
    if {![dict exists [stub::pins_of $cell] $name]} { error "cell $cell of IP [stub::ip $cell] has no pin $name with its settings" }
    return $pin
}
proc get_bd_intf_pins {pin} {
    lassign [split $pin /] cell name
    if {![dict exists [stub::interfaces_of $cell] $name]} { error "cell $cell of IP [stub::ip $cell] has no interface $name with its settings" }
    return $pin
}
proc connect_bd_intf_net {one other} {
    foreach pin [list $one $other] want {master slave} {
        lassign [split $pin /] cell name
        lassign [dict get [stub::interfaces_of $cell] $name] mode bus
        if {$mode ne $want} { error "$pin is a $mode" }
        lappend found $bus
        foreach bus [dict get $::stub::graph buses] {
            if {$pin in $bus} { error "$pin is connected already" }
        }
    }
    if {[lindex $found 0] ne [lindex $found 1]} { error "$one is [lindex $found 0], $other is [lindex $found 1]" }
    stub::note buses [list $one $other]
}
proc connect_bd_net {driver sink} {
    foreach pin [list $driver $sink] want {out in} {
        lassign [split $pin /] cell name
        lassign [dict get [stub::pins_of $cell] $name] direction kind
        if {$direction ne $want} { error "$pin is an ${direction}put" }
        lappend kinds $kind
    }
    if {[lindex $kinds 0] ne [lindex $kinds 1]} { error "$driver is [lindex $kinds 0], $sink is [lindex $kinds 1]" }
    foreach net [dict get $::stub::graph nets] {
        if {[lindex $net 1] eq $sink} { error "$sink is driven already" }
    }
    stub::note nets [list $driver $sink]
}
proc get_bd_addr_spaces {space} {
    lassign [split $space /] cell name
    set known {processing_system7 Data zynq_ultra_ps_e Data axi_dma {Data_MM2S Data_S2MM}}
    if {$name ni [dict get $known [stub::ip $cell]]} { error "cell $cell has no address space $name" }
    return $space
}
proc get_bd_addr_segs {flag pin args} {
    set found {}
    foreach name [stub::segments_of $pin] {
        if {$args eq "" || [lindex $args 1] eq "NAME == $name"} { lappend found segment:$pin:$name }
    }
    return $found
}
proc assign_bd_address {offset_flag offset range_flag range space_flag space segment force} {
    if {"$offset_flag $range_flag $space_flag $force" ne "-offset -range -target_address_space -force"} { error "assign_bd_address" }
    if {$range & ($range - 1) || $offset % $range} { error "the range $range at $offset is no power of two that is aligned" }
    lassign [split $segment :] - slave name
    stub::note segments [list $space $slave $name $offset $range]
}
proc exclude_bd_addr_seg {flag space segment} {
    lassign [split $segment :] - slave name
    stub::note excluded [list $space $slave $name]
}
proc validate_bd_design {} {
    set connected [concat {*}[dict get $::stub::graph nets]]
    set buses [concat {*}[dict get $::stub::graph buses]]
    foreach cell [dict keys [dict get $::stub::graph cells]] {
        dict for {name entry} [stub::pins_of $cell] {
            if {[lindex $entry 0] eq "in" && "$cell/$name" ni $connected} { error "$cell/$name is not connected" }
        }
        dict for {name entry} [stub::interfaces_of $cell] {
            if {[lindex $entry 1] in {aximm axis} && "$cell/$name" ni $buses} { error "$cell/$name is not connected" }
        }
    }
}
proc save_bd_design {} {}

# Runs, reports and results.
proc launch_runs {run args} { stub::note log [list launch $run {*}$args] }
proc wait_on_run {run} {
    if {$run eq "impl_1"} {
        set directory [dict get $::stub::project directory]
        if {$::stub::fault ne "bit"} { stub::touch [file join $directory system.runs impl_1 system_wrapper.bit] }
        file mkdir [file join $directory system.gen sources_1 bd system hw_handoff]
        if {$::stub::fault ne "handoff"} { stub::write_hwh [file join $directory system.gen sources_1 bd system hw_handoff system.hwh] }
    }
    if {$::stub::fault eq $run} { puts "ERROR: \[Synth 8-439\] module 'missing' not found" }
}
proc get_runs {run} { return $run }
proc open_run {run} {}
proc report_timing_summary {flag file} { stub::touch $file }
proc report_utilization {hierarchical flag file} { stub::touch $file }
proc report_power {flag file} { stub::touch $file }
proc write_hw_platform {fixed include force flag file} { if {$::stub::fault ne "xsa"} { stub::touch $file } }

rename exit stub_exit
proc exit {{code 0}} { stub::dump; stub_exit $code }

puts "****** Vivado v2024.1 (64-bit), stub"
set source [lindex $argv [expr {[lsearch -exact $argv -source] + 1}]]
if {[catch {source $source} message]} {
    puts "ERROR: $message"
    exit 1
}
exit 0
