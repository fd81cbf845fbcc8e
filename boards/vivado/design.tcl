# The block design: cells, buses, wires and addresses from settings.tcl.

# The newest version of an IP that this Vivado has, whatever that is.
proc newest {vendor library name} {
    set found [get_ipdefs -filter "VENDOR == $vendor && LIBRARY == $library && NAME == $name"]
    if {$found eq ""} {
        error "this Vivado has no IP $vendor:$library:$name"
    }
    return [lindex [lsort -dictionary $found] end]
}

# Settings of a cell, all at once: some depend on each other.
proc configure {cell settings} {
    if {$settings eq ""} {
        return
    }
    set pairs {}
    foreach {name value} $settings {
        lappend pairs CONFIG.$name $value
    }
    set_property -dict $pairs [get_bd_cells $cell]
}

create_bd_design $design
foreach entry $cells {
    lassign $entry name vendor library ip settings
    create_bd_cell -type ip -vlnv [newest $vendor $library $ip] $name
    if {$name ne $ps} {
        configure $name $settings
        continue
    }
    # The board's preset where Vivado knows the board; then what this design needs, which wins.
    if {$family eq "zynq7"} {
        apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config \
            [list make_external "FIXED_IO, DDR" apply_board_preset $has_board Master Disable Slave Disable] [get_bd_cells $ps]
    } elseif {$has_board} {
        apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset 1} [get_bd_cells $ps]
    }
    if {!$has_board} {
        configure $ps $pll_settings
    }
    configure $ps $settings
}

foreach pair $buses {
    lassign $pair master slave
    connect_bd_intf_net [get_bd_intf_pins $master] [get_bd_intf_pins $slave]
}
foreach net $nets {
    lassign $net driver sinks
    foreach sink $sinks {
        connect_bd_net [get_bd_pins $driver] [get_bd_pins $sink]
    }
}

foreach segment $segments {
    lassign $segment space slave name offset range
    set found [get_bd_addr_segs -of_objects [get_bd_intf_pins $slave] -filter "NAME == $name"]
    if {$found eq ""} {
        error "$slave has no address segment $name"
    }
    assign_bd_address -offset $offset -range $range -target_address_space [get_bd_addr_spaces $space] $found -force
}
# What else the processing system offers behind its memory port (OCM, flash) is not for the DMA.
foreach entry $excluded {
    lassign $entry space slave names
    foreach segment [get_bd_addr_segs -of_objects [get_bd_intf_pins $slave]] {
        if {[get_property NAME $segment] ni $names} {
            exclude_bd_addr_seg -target_address_space [get_bd_addr_spaces $space] $segment
        }
    }
}

# pynq writes these divisors into the clock's registers: their product must be that for the PLL that the board boots with.
set product 1
foreach name $divisors {
    set product [expr {$product * [get_property CONFIG.$name [get_bd_cells $ps]]}]
}
if {$product != $divisor_product} {
    error "the PL clock is the I/O PLL divided by $product, but on this board it must be $divisor_product:\
        the processing system's settings do not have the board's PLL of $io_pll_mhz MHz"
}
set clock_hz [get_property CONFIG.FREQ_HZ [get_bd_pins $clock_pin]]
if {abs($clock_hz - 1e6 * $clock_mhz) > 1e4 * $clock_mhz} {
    error "the PL clock would be $clock_hz Hz, not $clock_mhz MHz"
}
validate_bd_design
save_bd_design
