# Builds the bitstream of this folder:  vivado -mode batch -source build.tcl
# Exit code 0 only if out/ has the bitstream, its .hwh, the .xsa and the reports, and timing is met.

set here [file dirname [file normalize [info script]]]
set work [file join $here work]
set out [file join $here out]

proc run_step {run step jobs} {
    if {$step eq ""} {
        launch_runs $run -jobs $jobs
    } else {
        launch_runs $run -to_step $step -jobs $jobs
    }
    wait_on_run $run
    if {[get_property PROGRESS [get_runs $run]] ne "100%"} {
        error "$run ended as: [get_property STATUS [get_runs $run]]"
    }
}

proc build {} {
    global here work out
    foreach file {settings.tcl package.tcl design.tcl rtl/spikeloom.v rtl/spikeloom_ip.v} {
        if {![file exists [file join $here $file]]} {
            error "$file is missing beside build.tcl"
        }
    }
    uplevel #0 [list source [file join $here settings.tcl]]
    global part board_part design design_top jobs has_board
    file delete -force $work $out
    file mkdir $work $out

    puts "SPIKELOOM step: packaging the IP"
    uplevel #0 [list source [file join $here package.tcl]]

    puts "SPIKELOOM step: block design"
    create_project -force $design [file join $work project] -part $part
    set found [get_board_parts -quiet $board_part]
    set has_board [expr {$found ne ""}]
    if {$has_board} {
        set_property board_part $board_part [current_project]
    } else {
        puts "SPIKELOOM note: this Vivado has no files of board $board_part; building for part $part alone"
    }
    set_property ip_repo_paths [file join $work ip] [current_project]
    update_ip_catalog
    uplevel #0 [list source [file join $here design.tcl]]
    set file [get_files $design.bd]
    add_files -norecurse [make_wrapper -files $file -top]
    set_property top $design_top [current_fileset]
    update_compile_order -fileset sources_1

    puts "SPIKELOOM step: synthesis"
    run_step synth_1 "" $jobs
    puts "SPIKELOOM step: implementation"
    run_step impl_1 write_bitstream $jobs

    puts "SPIKELOOM step: reports"
    open_run impl_1
    report_timing_summary -file [file join $out timing.rpt]
    report_utilization -hierarchical -file [file join $out utilization.rpt]
    report_power -file [file join $out power.rpt]
    set setup [get_property STATS.WNS [get_runs impl_1]]
    set hold [get_property STATS.WHS [get_runs impl_1]]
    puts "SPIKELOOM slack: setup $setup ns, hold $hold ns"
    foreach {name slack} [list setup $setup hold $hold] {
        if {![string is double -strict $slack] || $slack < 0} {
            error "timing is not met: $name slack is '$slack' ns. Choose a slower clock (--clock-mhz) or a smaller array"
        }
    }

    puts "SPIKELOOM step: files"
    set directory [get_property DIRECTORY [get_runs impl_1]]
    file copy -force [file join $directory $design_top.bit] [file join $out spikeloom.bit]
    set handoff [glob -nocomplain [file join $work project $design.* sources_1 bd $design hw_handoff $design.hwh]]
    if {$handoff eq ""} {
        error "Vivado wrote no $design.hwh"
    }
    file copy -force [lindex $handoff 0] [file join $out spikeloom.hwh]
    write_hw_platform -fixed -include_bit -force -file [file join $out spikeloom.xsa]
    foreach file {spikeloom.bit spikeloom.hwh spikeloom.xsa timing.rpt utilization.rpt power.rpt} {
        if {![file exists [file join $out $file]] || [file size [file join $out $file]] == 0} {
            error "out/$file was not written"
        }
    }
    puts "SPIKELOOM done: setup slack $setup ns"
}

if {[catch build message]} {
    puts "ERROR: \[Spikeloom\] $message"
    exit 1
}
exit 0
